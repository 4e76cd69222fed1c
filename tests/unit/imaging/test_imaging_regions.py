"""Regions: masks of every source on the image's grid, and what is not a region."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, disc, nifti, png
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging import regions
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.io.context import Context
from medpo_cli.schema.records import MaskRef, Region

IMAGE = Image(array=frozen(np.zeros((8, 6, 1), np.uint8)), kind="png")
PLACED = Image(
    array=frozen(np.zeros((8, 6, 1), np.uint8)), kind="nifti", affine=RIGHT_ANTERIOR, spacing=(2.0, 3.0, 4.0)
)


def labels(values: dict[tuple[int, int], int], dtype: str = "u1") -> np.ndarray:
    """[8, 6, 1] with ``values`` by (x, y)."""
    array = np.zeros((8, 6, 1), dtype)
    for (x, y), value in values.items():
        array[x, y] = value
    return array


FOUR = {(1, 2): 1, (2, 2): 1, (1, 3): 1, (2, 3): 1}


def read(tmp_path: Path, image: Image = IMAGE, name: str = "m.nii.gz", **fields: object) -> np.ndarray:
    region = Region(label="x", mask=MaskRef(path=name, **fields))  # type: ignore[arg-type]
    return regions.region_mask(region, image, Context(tmp_path), None, "$.regions[0]")


def reason(tmp_path: Path, image: Image = IMAGE, name: str = "m.nii.gz", **fields: object) -> str:
    with pytest.raises(RecordError) as caught:
        read(tmp_path, image, name, **fields)
    assert (caught.value.path or "").startswith("$.regions[0]")
    return caught.value.reason


def test_mask_file_is_on_the_grid_of_the_picture(tmp_path: Path) -> None:
    nifti(tmp_path / "m.nii.gz", labels(FOUR))
    mask = read(tmp_path)
    assert mask.sum() == 4
    assert mask[1, 2, 0]
    png(tmp_path / "m.png", labels(FOUR)[:, :, 0].T * 255)
    np.testing.assert_array_equal(read(tmp_path, name="m.png"), mask)
    assert regions.region_hash(mask) == regions.region_hash(read(tmp_path, name="m.png"))


def test_value_selects_a_label_and_the_default_is_any(tmp_path: Path) -> None:
    two = FOUR | {(x, 5): 2 for x in range(5)}
    nifti(tmp_path / "m.nii.gz", labels(two))
    assert read(tmp_path).sum() == 9
    assert read(tmp_path, value=2).sum() == 5
    assert reason(tmp_path, value=3) == "mask-label"


@pytest.mark.parametrize(
    ("code", "array"),
    [
        ("mask-empty", labels({})),
        ("mask-too-small", labels({(1, 1): 1})),
        ("geometry-mismatch", np.ones((6, 8, 1), np.uint8)),
        ("geometry-mismatch", np.ones((8, 6, 2), np.uint8)),
        ("mask-not-binary", np.full((8, 6, 1), 0.3, np.float32)),
        ("mask-not-binary", np.arange(144, dtype=np.uint8).reshape(8, 6, 1, 3)),
        ("non-finite", np.full((8, 6, 1), np.nan, np.float32)),
    ],
)
def test_what_is_no_mask_has_its_code(tmp_path: Path, code: str, array: np.ndarray) -> None:
    if array.ndim == 4:
        Pillow.fromarray(array[:, :, 0].transpose(1, 0, 2)).save(tmp_path / "m.nii.gz", format="PNG")
    else:
        nifti(tmp_path / "m.nii.gz", array, np.eye(4))
    assert reason(tmp_path) == code


def test_smoothed_png_and_jpeg_are_not_masks(tmp_path: Path) -> None:
    picture = labels(FOUR)[:, :, 0].T * 255
    picture[4, 4] = 17
    png(tmp_path / "m.png", picture)
    assert reason(tmp_path, name="m.png") == "mask-not-binary"
    assert read(tmp_path, name="m.png", value=255).sum() == 4
    Pillow.fromarray(picture).save(tmp_path / "m.jpg")
    assert reason(tmp_path, name="m.jpg") == "mask-not-binary"


def test_dicom_is_not_taken_for_a_mask(tmp_path: Path) -> None:
    dicom(tmp_path / "m.dcm", ct(np.ones((6, 8), np.uint8)))
    assert reason(tmp_path, name="m.dcm") == "unsupported-format"


def test_a_shifted_affine_is_another_grid(tmp_path: Path) -> None:
    nifti(tmp_path / "m.nii.gz", labels(FOUR), RIGHT_ANTERIOR)
    assert read(tmp_path, PLACED).sum() == 4
    shifted = RIGHT_ANTERIOR.copy()
    shifted[0, 3] += 1
    nifti(tmp_path / "s.nii.gz", labels(FOUR), shifted)
    assert reason(tmp_path, PLACED, "s.nii.gz") == "geometry-mismatch"


def test_hash_spacing_and_absence_are_checked(tmp_path: Path) -> None:
    nifti(tmp_path / "m.nii.gz", labels(FOUR))
    assert reason(tmp_path, sha256="0" * 64) == "sha256-mismatch"
    assert reason(tmp_path, name="none.nii.gz") == "file-not-found"
    region = Region(label="x", mask=MaskRef(path="m.nii.gz"), spacing=(2.0, 2.0))
    with pytest.raises(RecordError) as caught:
        regions.region_mask(region, PLACED, Context(tmp_path), None, "$.regions[0]")
    assert caught.value.reason == "geometry-mismatch"


def test_box_covers_the_pixels_whose_centre_it_holds() -> None:
    mask = regions.box_mask(Region(label="x", box=(1.0, 2.0, 3.0, 4.0)), IMAGE, None)
    assert np.argwhere(mask).tolist() == [[1, 2, 0], [1, 3, 0], [2, 2, 0], [2, 3, 0]]
    assert regions.box_mask(Region(label="x", box=(1.6, 2.0, 3.0, 4.0)), IMAGE, None).sum() == 2


def test_box_is_drawn_on_the_displayed_picture() -> None:
    mirrored = Image(array=frozen(np.zeros((8, 6, 3), np.uint8)), kind="nifti", affine=np.eye(4))
    mask = regions.box_mask(Region(label="x", box=(0.0, 0.0, 2.0, 1.0)), mirrored, 2)
    # RAS: the picture's left is high x, its top high y.
    assert np.argwhere(mask).tolist() == [[6, 5, 2], [7, 5, 2]]


def test_box_outside_is_empty(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        regions.region_mask(Region(label="x", box=(50, 50, 60, 60)), IMAGE, Context(tmp_path), None, "$.regions[0]")
    assert caught.value.reason == "mask-empty"


def test_sizes_of_a_disc_and_of_a_ball() -> None:
    flat = disc(64, (32, 32), 10)[:, :, None]
    assert regions.radius(flat) == pytest.approx(10, rel=0.03)
    assert regions.fraction(flat) == pytest.approx(np.pi * 100 / 4096, rel=0.05)
    x, y, z = np.mgrid[:32, :32, :32]
    ball = (x - 16) ** 2 + (y - 16) ** 2 + (z - 16) ** 2 <= 100
    assert regions.radius(ball) == pytest.approx(10, rel=0.03)
    one_slice = np.zeros((64, 64, 5), bool)
    one_slice[:, :, 2] = flat[:, :, 0]
    assert regions.fraction(one_slice) == regions.fraction(flat)  # of its slice
    assert regions.ring_width(flat) == pytest.approx(4, rel=0.05)


def test_ring_is_around_and_on_the_same_slice() -> None:
    mask = np.zeros((9, 9, 3), bool)
    mask[4, 4, 1] = True
    near = regions.ring(mask, 1.0)
    assert np.argwhere(near).tolist() == [[3, 4, 1], [4, 3, 1], [4, 5, 1], [5, 4, 1]]


def test_union_and_hash_follow_content() -> None:
    one, two = np.zeros((3, 3, 1), bool), np.zeros((3, 3, 1), bool)
    one[0], two[2] = True, True
    both = regions.union([one, two])
    assert both.sum() == 6
    assert one.sum() == 3
    assert regions.region_hash(both) != regions.region_hash(one)
    assert regions.region_hash(one.reshape(3, 1, 3)) != regions.region_hash(one)
