"""Regions from DICOM segmentations and structure sets: on series, single slices and NIfTI made from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.imaging_files import ct, dicom, nifti, png, series, slices
from data.mark_files import rtstruct, seg
from pydicom.dataset import FileDataset

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Image, Mask
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask
from medpo_cli.io.context import Context
from medpo_cli.schema.records import MaskRef, Region

COUNT, STEP = 8, 2.5
X0, Y0, Z0 = -10.5, -20.25, 30.0
SPACING = (0.7, 0.8)


def position(k: float) -> tuple[float, float, float]:
    """LPS mm of the first voxel of slice ``k`` of ``slices()``."""
    return X0, Y0, Z0 + STEP * k


def square(x: slice, y: slice) -> np.ndarray:
    """bool [y, x] of a rectangle on a slice of ``slices()``."""
    plane = np.zeros((16, 12), bool)
    plane[y, x] = True
    return plane


def outline(x: slice, y: slice, k: float) -> list[tuple[float, float, float]]:
    """The border of ``square`` in LPS mm: halfway between the outermost voxels and their neighbours."""
    edges = [(x.start, y.start), (x.stop, y.start), (x.stop, y.stop), (x.start, y.stop)]
    return [(X0 + SPACING[0] * (i - 0.5), Y0 + SPACING[1] * (j - 0.5), Z0 + STEP * k) for i, j in edges]


LESION = (slice(3, 7), slice(5, 11))
EXPECTED = np.zeros((12, 16, COUNT), bool)
EXPECTED[3:7, 5:11, 2:5] = True


def both() -> dict[str, FileDataset]:
    """The lesion on slices 2, 3 and 4, and something else, as either kind of object."""
    other = (slice(8, 11), slice(1, 4))
    planes = [square(*LESION)] * 3 + [square(*other)]
    return {
        "seg": seg(planes, [position(k) for k in (4, 2, 3, 2)], [2, 2, 2, 7], names={2: "Nodule", 7: "Effusion"}),
        "rtstruct": rtstruct(
            [*((2, outline(*LESION, k)) for k in (3, 2, 4)), (7, outline(*other, 2))],
            names={2: "Nodule", 7: "Effusion"},
        ),
    }


@pytest.fixture
def volume(tmp_path: Path) -> Image:
    return read_image(series(tmp_path / "ct", slices(COUNT, STEP)))


def marked(folder: Path, dataset: FileDataset, image: Image, label: str = "nodule", value: int | None = None) -> Mask:
    dicom(folder / "mask.dcm", dataset)
    region = Region(label=label, mask=MaskRef(path="mask.dcm", value=value))
    return region_mask(region, image, Context(folder), None, "$.regions[0]")


def refused(folder: Path, dataset: FileDataset, image: Image, **more: Any) -> str:
    with pytest.raises(RecordError) as caught:
        marked(folder, dataset, image, **more)
    assert "Nodule" not in str(caught.value)
    assert "Secret" not in str(caught.value)
    assert (caught.value.path or "").startswith("$.regions[0]")
    return caught.value.reason


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_planes_and_contours_lie_where_their_position_says(kind: str, tmp_path: Path, volume: Image) -> None:
    np.testing.assert_array_equal(marked(tmp_path, both()[kind], volume), EXPECTED)


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_on_a_nifti_of_the_series_in_any_orientation(kind: str, tmp_path: Path, volume: Image) -> None:
    assert volume.affine is not None
    for axes, flips in (((0, 1, 2), (0, 1, 0)), ((2, 0, 1), (1, 0, 0)), ((1, 2, 0), (1, 1, 1))):
        array, expected, affine = volume.array, EXPECTED, volume.affine.copy()
        for axis in (axis for axis in range(3) if flips[axis]):
            array, expected = np.flip(array, axis), np.flip(expected, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
        affine[:, :3] = affine[:, list(axes)]
        path = nifti(tmp_path / "turned.nii.gz", np.ascontiguousarray(array.transpose(axes)), affine)
        np.testing.assert_array_equal(marked(tmp_path, both()[kind], read_image(path)), expected.transpose(axes))


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_on_one_slice_only_what_lies_on_it_counts(kind: str, tmp_path: Path) -> None:
    for k, expected in ((3, EXPECTED[:, :, 3:4]), (4, EXPECTED[:, :, 4:5])):
        image = read_image(dicom(tmp_path / "slice.dcm", slices(COUNT, STEP)[k]))
        np.testing.assert_array_equal(marked(tmp_path, both()[kind], image), expected)
    beside = read_image(dicom(tmp_path / "slice.dcm", slices(COUNT, STEP)[6]))
    assert refused(tmp_path, both()[kind], beside) == "mask-empty"


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_which_one_is_meant(kind: str, tmp_path: Path, volume: Image) -> None:
    effusion = np.zeros_like(EXPECTED)
    effusion[8:11, 1:4, 2] = True
    np.testing.assert_array_equal(marked(tmp_path, both()[kind], volume, value=7), effusion)
    np.testing.assert_array_equal(marked(tmp_path, both()[kind], volume, label="EFFUSION"), effusion)
    assert refused(tmp_path, both()[kind], volume, label="opacity") == "mask-label"
    assert refused(tmp_path, both()[kind], volume, value=3) == "mask-label"
    single = seg([square(*LESION)] * 2, [position(2), position(3)], names={1: "Secret name"})
    assert marked(tmp_path, single, volume, label="opacity").sum() == 48


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_another_frame_of_reference_is_refused(kind: str, tmp_path: Path) -> None:
    other = read_image(series(tmp_path / "other", slices(COUNT, STEP, FrameOfReferenceUID="1.2.99")))
    assert refused(tmp_path, both()[kind], other) == "geometry-mismatch"
    silent = read_image(series(tmp_path / "silent", slices(COUNT, STEP, FrameOfReferenceUID=None)))
    np.testing.assert_array_equal(marked(tmp_path, both()[kind], silent), EXPECTED)


@pytest.mark.parametrize(
    "dataset",
    [
        seg([square(*LESION)], [position(2.5)]),
        seg([square(*LESION)], [position(COUNT + 1)]),
        seg([square(*LESION)], [position(2)], spacing=(0.9, 0.7)),
        seg([square(*LESION)], [position(2)], spacing=(1.6, 1.4)),
        seg([square(*LESION)], [position(2)], cosines=(0.96, 0.28, 0, -0.28, 0.96, 0)),
        seg([square(*LESION)], [(X0 + 0.3, Y0, Z0)]),
        seg([square(*LESION)], [(X0 - 0.7 * 8, Y0, Z0)]),
        rtstruct([(1, outline(*LESION, 2.5))]),
        rtstruct([(1, outline(*LESION, -2))]),
        rtstruct([(1, [(0, 0, 31), (4, 0, 36), (4, 4, 41)])]),
    ],
    ids=["between", "beyond", "other grid", "coarser", "turned", "shifted", "cut", "between", "beyond", "across"],
)
def test_what_does_not_lie_on_the_voxels_is_refused(dataset: FileDataset, tmp_path: Path, volume: Image) -> None:
    assert refused(tmp_path, dataset, volume, value=1) == "geometry-mismatch"


def test_a_smaller_grid_that_coincides_is_laid_in(tmp_path: Path, volume: Image) -> None:
    x, y, z = position(3)
    part = seg([np.ones((4, 3), bool)], [(x + 0.7 * 5, y + 0.8 * 6, z)])
    expected = np.zeros_like(EXPECTED)
    expected[5:8, 6:10, 3] = True
    np.testing.assert_array_equal(marked(tmp_path, part, volume), expected)


def test_label_maps_and_fractions(tmp_path: Path, volume: Image) -> None:
    values = np.where(square(*LESION), 2, np.where(square(slice(8, 11), slice(1, 4)), 7, 0))
    names = {0: "Background", 2: "Nodule", 7: "Effusion"}
    labels = seg([values, values], [position(2), position(3)], kind="LABELMAP", names=names)
    expected = EXPECTED.copy()
    expected[:, :, 4] = False
    np.testing.assert_array_equal(marked(tmp_path, labels, volume), expected)
    whole = seg([255 * square(*LESION)] * 2, [position(2), position(3)], kind="FRACTIONAL")
    np.testing.assert_array_equal(marked(tmp_path, whole, volume), expected)
    soft = seg([100 * square(*LESION)], [position(2)], kind="FRACTIONAL")
    assert refused(tmp_path, soft, volume) == "mask-not-binary"


def test_overlapping_segments_are_kept_apart(tmp_path: Path, volume: Image) -> None:
    one, other = square(slice(2, 6), slice(2, 6)), square(slice(4, 9), slice(4, 9))
    dataset = seg([one, other], [position(1), position(1)], [1, 2])
    assert marked(tmp_path, dataset, volume, value=1)[:, :, 1].sum() == 16
    assert marked(tmp_path, dataset, volume, value=2)[:, :, 1].sum() == 25


def test_a_segmentation_without_a_place_fits_a_picture_of_its_size(tmp_path: Path) -> None:
    picture = read_image(png(tmp_path / "x.png", np.zeros((16, 12), np.uint8)))
    dataset = seg([square(*LESION)], [position(0)], placed=False)
    np.testing.assert_array_equal(marked(tmp_path, dataset, picture), EXPECTED[:, :, 2:3])
    wider = read_image(png(tmp_path / "y.png", np.zeros((16, 13), np.uint8)))
    assert refused(tmp_path, dataset, wider) == "geometry-mismatch"
    assert refused(tmp_path, rtstruct([(1, outline(*LESION, 0))]), picture) == "geometry-mismatch"


def test_holes_islands_and_keyholes(tmp_path: Path, volume: Image) -> None:
    outer, inner, island = (slice(1, 10), slice(2, 14)), (slice(3, 8), slice(4, 12)), (slice(5, 6), slice(6, 8))
    expected = np.zeros_like(EXPECTED)
    for x, y in (outer, inner, island):
        expected[x, y, 2] ^= True
    rings = [(1, outline(*one, 2)) for one in (outer, inner, island)]
    np.testing.assert_array_equal(marked(tmp_path, rtstruct(rings), volume), expected)
    around, within = outline(*outer, 2), outline(*inner, 2)
    keyhole = [*around, around[0], *within, within[0]]
    expected[5:6, 6:8, 2] = False
    np.testing.assert_array_equal(marked(tmp_path, rtstruct([(1, keyhole)]), volume), expected)


@pytest.mark.filterwarnings("ignore:(?s).*exceeds the size of 64 kByte")  # pydicom then writes UN, as others do
def test_a_circle_is_what_its_equation_says(tmp_path: Path, volume: Image) -> None:
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    center, radius = np.array([X0 + 0.7 * 5.2, Y0 + 0.8 * 8.1]), 3.1
    points = [(center[0] + radius * np.cos(a), center[1] + radius * np.sin(a), Z0 + STEP * 4) for a in angles]
    x, y = np.mgrid[:12, :16]
    inside = (X0 + 0.7 * x - center[0]) ** 2 + (Y0 + 0.8 * y - center[1]) ** 2 <= radius**2
    found = marked(tmp_path, rtstruct([(1, points)]), volume)
    np.testing.assert_array_equal(found[:, :, 4], inside)
    assert found.sum() == inside.sum() > 0


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (ct(), "unsupported-format"),
        (seg([square(*LESION)], [position(2)], SegmentSequence=None), "bad-tag"),
        (seg([square(*LESION)], [position(2)], PixelData=b"\0\0"), "truncated"),
        (seg([square(*LESION)], [position(2)], PerFrameFunctionalGroupsSequence=None), "bad-tag"),
        (seg([square(*LESION)], [position(2)], Rows=60000, Columns=60000), "too-large"),
        (seg([square(*LESION)], [position(2)], kind="FRACTIONAL", MaximumFractionalValue=None), "bad-tag"),
        (rtstruct([], names={1: "Secret"}), "mask-empty"),
        (rtstruct([(1, outline(*LESION, 2))], kind="OPEN_PLANAR"), "mask-empty"),
        (rtstruct([(1, [(0, 0, 30), (1, 1, 30)])]), "bad-tag"),
        (rtstruct([(1, outline(*LESION, 2))], names={}), "bad-tag"),
        (seg([np.zeros((16, 12), bool)], [position(2)]), "mask-empty"),
    ],
)
def test_what_is_broken_is_refused_with_a_code(
    dataset: FileDataset, reason: str, tmp_path: Path, volume: Image
) -> None:
    assert refused(tmp_path, dataset, volume, value=1 if reason == "truncated" else None) == reason


def test_contours_that_another_structure_refers_to_are_not_ours(tmp_path: Path, volume: Image) -> None:
    dataset = rtstruct([(1, outline(*LESION, 2)), (5, outline(slice(0, 2), slice(0, 2), 99))])
    assert marked(tmp_path, dataset, volume, value=1).sum() == 24


def test_the_file_must_be_the_one_that_the_record_names(tmp_path: Path, volume: Image) -> None:
    dicom(tmp_path / "mask.dcm", both()["seg"])
    region = Region(label="nodule", mask=MaskRef(path="mask.dcm", sha256="0" * 64))
    with pytest.raises(RecordError, match="not the one that the record names"):
        region_mask(region, volume, Context(tmp_path), None, "$.regions[0]")
