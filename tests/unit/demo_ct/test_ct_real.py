"""The real lesions: files load, sides follow from the affine, sizes from the mask."""

import nibabel
import numpy as np
import pytest

from medpo_cli.demo.ct.real import FOLDER, LESIONS, facts_of, load, write_real_cases
from medpo_cli.io.stream import read_all
from medpo_cli.schema.records import Case

NAMES = [lesion.name for lesion in LESIONS]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    path = write_real_cases(folder)
    with path.open("rb") as stream:
        return folder, list(read_all(stream, path.name, (Case,)))


@pytest.mark.parametrize("name", NAMES)
def test_image_and_mask_share_a_grid_in_lps_order(name):
    image, mask = (nibabel.load(FOLDER / f"{name}{suffix}.nii.gz") for suffix in ("", ".mask"))
    assert image.shape == mask.shape
    assert np.allclose(image.affine, mask.affine)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
    assert np.asarray(image.dataobj).dtype.newbyteorder("=") == np.int16


@pytest.mark.parametrize(
    ("name", "side"), [("lung1", "right"), ("lung2", "left"), ("brain1", "left"), ("brain2", "left")]
)
def test_the_side_agrees_with_the_affine(name, side):
    values, mask, affine = load(name)
    assert facts_of(values, mask, affine, sided=True).side == side
    # Independently: world x of the lesion against world x of the tissue around it (RAS: the left is negative).
    frame = int(mask.sum(axis=(0, 1)).argmax())
    tissue = values[:, :, frame] > np.percentile(values[:, :, frame], 60)
    world = [nibabel.affines.apply_affine(affine, np.c_[np.argwhere(m), np.full(m.sum(), frame)])[:, 0].mean()
             for m in (mask[:, :, frame], tissue)]  # fmt: skip
    assert (world[0] < world[1]) == (side == "left")


def test_side_and_size_by_hand():
    values = np.zeros((20, 10, 3))
    values[2:18, 1:9] = 100
    mask = np.zeros(values.shape, bool)
    mask[13:16, 4, 1] = True
    mask[14, 4, 2] = True
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])  # LPS order: a higher first index is further to the left
    facts = facts_of(values, mask, affine, sided=True)
    assert facts.frame == 1
    assert facts.side == "left"
    assert facts.size_mm == 6  # three pixels of 2 mm: 4 mm between the outer middles plus one pixel
    turned = facts_of(values, mask, np.diag([2.0, -2.0, 5.0, 1.0]), sided=True)
    assert turned.side == "right"
    assert facts_of(values, mask, affine, sided=False).side is None


def test_cases_name_files_and_a_frame_through_the_lesion(written):
    folder, cases = written
    assert {case.group for case in cases} == {f"real-{name}" for name in NAMES}
    for case in cases:
        mask = np.asarray(nibabel.load(folder / case.regions[0].mask.path).dataobj)
        image = nibabel.load(folder / case.image.path)
        assert image.shape == mask.shape
        assert mask[:, :, case.image.frame].any()
        assert case.image.window.width > 0


def test_nothing_is_said_that_the_mask_does_not_show(written):
    _, cases = written
    for case in cases:
        words = case.reference.split()
        assert not case.reference.startswith("No")
        assert {word.strip(".") for word in words} & {"left", "right"} <= {case.ext.get("side")}
        if "breast1" in case.id:
            assert "left" not in case.reference
            assert "right" not in case.reference


def test_always_the_same_bytes(written, tmp_path):
    write_real_cases(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (written[0] / path.relative_to(tmp_path)).read_bytes()


def test_large_and_small_lesions_measure_as_known():
    sizes = {}
    for lesion in LESIONS:
        sizes[lesion.name] = facts_of(*load(lesion.name), sided=lesion.sided).size_mm
    assert 40 <= sizes["lung2"] <= 50  # a 4-5 cm mass
    assert sizes["breast1"] < 10
    assert sizes["lung1"] < 30  # a nodule, not a mass
