"""What is shown of a volume: one slice, several beside each other, a projection."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, nifti

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.page.pictures import outlines_of
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.window import load_view, side_by_side, spread, view
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Region, Window
from medpo_cli.stages.corrupt import run as corrupt

ALL = Window(center=127.5, width=255)


def volume(depth: int = 5, **fields: object) -> Image:
    """[4, 3, depth] of 0-255 values, each voxel another."""
    array = np.arange(12 * depth, dtype=np.int16).reshape(4, 3, depth)
    return Image(array=frozen(array), kind="nifti", affine=RIGHT_ANTERIOR, window=ALL, **fields)  # type: ignore[arg-type]


def test_side_by_side_in_reading_order() -> None:
    sheet = side_by_side([np.full((2, 3), n) for n in range(1, 6)])
    assert sheet.shape == (4, 9)
    assert sheet[::2, ::3].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert side_by_side([np.zeros((2, 3, 3))] * 2).shape == (2, 6, 3)


def test_a_montage_is_its_slices() -> None:
    image = volume()
    sheet = view(image, montage=(4, 0, 2))
    assert sheet.shape == (6, 8, 3)
    np.testing.assert_array_equal(sheet[:3, :4], view(image, frame=4))
    np.testing.assert_array_equal(sheet[:3, 4:], view(image, frame=0))
    np.testing.assert_array_equal(sheet[3:, :4], view(image, frame=2))
    assert not sheet[3:, 4:].any()


@pytest.mark.parametrize("affine", [None, RIGHT_ANTERIOR, np.eye(4)])
def test_projections_are_of_what_is_seen(affine: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    array = frozen(rng.integers(0, 256, (4, 3, 6)).astype(np.int16))
    for inverted in (False, True):
        image = Image(array=array, kind="nifti", affine=affine, window=ALL, inverted=inverted)
        slices = np.stack([view(image, frame=n) for n in range(6)])
        np.testing.assert_array_equal(view(image, projection="max"), slices.max(0))
        np.testing.assert_array_equal(view(image, projection="min"), slices.min(0))
        np.testing.assert_array_equal(view(image, projection="mean"), np.rint(slices.mean(0)).astype(np.uint8))


def test_one_slice_and_colour() -> None:
    image = volume(1)
    np.testing.assert_array_equal(view(image, projection="max"), view(image))
    colour = Image(array=frozen(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)), kind="nifti")
    np.testing.assert_array_equal(view(colour, projection="max"), view(colour, frame=1))
    assert view(colour, montage=(0, 1)).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("depth", "count", "expected"),
    [(9, 3, (1, 4, 7)), (5, 9, (0, 1, 2, 3, 4)), (100, 4, (12, 37, 62, 87)), (1, 3, (0,))],
)
def test_spread(depth: int, count: int, expected: tuple[int, ...]) -> None:
    assert spread(depth, count) == expected


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        view(volume(), montage=(0, 5))
    assert caught.value.reason == "frame-out-of-range"
    nifti(tmp_path / "v.nii.gz", np.zeros((4, 3, 5), np.int16), RIGHT_ANTERIOR)
    for ref, path in [
        (ImageRef(path="v.nii.gz", montage=(0, 9)), "$.image.montage"),
        (ImageRef(path="v.nii.gz"), "$.image.frame"),
    ]:
        with pytest.raises(RecordError) as caught:
            load_view(ref, Context(tmp_path))
        assert caught.value.path == path
    with pytest.raises(ValueError, match="not by several"):
        ImageRef(path="v", frame=1, projection="max")


@pytest.mark.parametrize("look", [{"montage": (1, 2, 3)}, {"projection": "max"}, {"frame": 2}])
def test_corrupted_images_and_outlines_are_seen_in_the_same_way(tmp_path: Path, look: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(90, 110, (32, 32, 5)).astype(np.int16)
    mask = np.zeros(array.shape, np.uint8)
    mask[10:16, 12:18, 2] = 1
    array[mask > 0] = 300
    nifti(tmp_path / "v.nii.gz", array, RIGHT_ANTERIOR)
    nifti(tmp_path / "m.nii.gz", mask, RIGHT_ANTERIOR)
    ref = ImageRef(path="v.nii.gz", window=Window(center=200, width=300), **look)  # type: ignore[arg-type]
    region = Region(label="nodule", mask=MaskRef(path="m.nii.gz"))
    case = Case(id="1", image=ref, prompt="?", task="report", regions=[region])
    (done,) = corrupt([case], CorruptConfig(control=False, grow=0), Context(tmp_path))
    assert done.corrupted is not None
    shown = done.corrupted.image
    assert (shown.frame, shown.montage, shown.projection) == (ref.frame, ref.montage, ref.projection)
    before, after = (load_view(one, Context(tmp_path)) for one in (ref, shown))
    differs = (before != after).any(2)
    where = view(Image(array=frozen(mask), kind="nifti", affine=read_image(tmp_path / "m.nii.gz").affine), **look) > 0  # type: ignore[arg-type]
    assert differs.any()
    assert not (differs & ~where[..., 0]).any()
    (outline,) = outlines_of(case, Context(tmp_path), with_text=True)
    assert outline.label == "nodule"
    own = Region(label="nodule", mask=MaskRef(path="m.nii.gz"), circular=True)
    (outline,) = outlines_of(
        Case(id="1", image=ref, prompt="?", task="report", regions=[own]), Context(tmp_path), with_text=True
    )
    assert outline.label == "nodule (the policy's own look)"
