"""The view: precedence of windows, orientation by hand, frames, and the checks of a reference."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, nifti, png

from medpo_cli.errors import RecordError
from medpo_cli.imaging.geometry import from_picture, same_grid, side_axis, to_picture
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.imaging.window import load_view, percentile_window, resolve_window, view
from medpo_cli.io.context import Context
from medpo_cli.schema.records import ImageRef, Window


def volume(array: np.ndarray, affine: np.ndarray | None, **fields: object) -> Image:
    return Image(array=frozen(array), kind="nifti", affine=affine, **fields)  # type: ignore[arg-type]


def test_eight_bit_pictures_are_shown_as_they_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    png(tmp_path / "a.png", picture)
    shown = load_view(ImageRef(path="a.png"), Context(tmp_path))
    assert shown.shape == (5, 7, 3)
    assert shown.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(shown[..., channel], picture)


def test_one_slice_nifti_without_a_position_is_the_picture_it_was_made_from(tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    nifti(tmp_path / "a.nii.gz", picture.T[:, :, None].copy())
    np.testing.assert_array_equal(load_view(ImageRef(path="a.nii.gz"), Context(tmp_path))[..., 0], picture)


def test_window_maps_its_limits_linearly_and_clips() -> None:
    image = volume(np.array([-200, 0, 50, 100, 300], np.int16).reshape(5, 1, 1), None)
    shown = view(image, window=Window(center=50, width=100))[0, :, 0]
    assert shown.tolist() == [0, 0, 128, 255, 255]  # 127.5 rounds to even


def test_precedence_of_windows() -> None:
    own, given = Window(center=1, width=2), Window(center=3, width=4)
    grey = volume(np.zeros((2, 2, 1), np.int16), None, window=own)
    assert resolve_window(grey, given) == given
    assert resolve_window(grey) == own
    assert resolve_window(volume(np.zeros((2, 2, 1), np.uint8), None)) is None
    assert resolve_window(volume(np.zeros((2, 2, 1), np.int16), None)) == Window(center=0, width=1)
    assert resolve_window(volume(np.zeros((2, 2, 1, 3), np.uint8), None), given) is None


def test_percentiles_are_of_scaled_values_whatever_the_sign_of_the_slope() -> None:
    ramp = np.arange(101, dtype=np.int16).reshape(101, 1, 1)
    assert percentile_window(volume(ramp, None)) == Window(center=50, width=98)
    turned = percentile_window(volume(ramp, None, slope=-2.0, inter=10.0))
    assert turned == Window(center=-90, width=196)  # -2 * (1, 99) + 10 = 8, -188


@pytest.mark.parametrize(
    ("diagonal", "left_top"),
    [
        ((-1, -1, 1), (0, 0)),  # columns run to the patient's left, rows to the back: as stored
        ((1, 1, 1), (-1, -1)),  # RAS: both mirrored
        ((1, -1, 1), (-1, 0)),
    ],
)
def test_axial_slice_has_right_at_left_and_front_up(diagonal: tuple[int, ...], left_top: tuple[int, int]) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(3, 2, 1)
    shown = view(volume(array, np.diag([*diagonal, 1.0])))[..., 0]
    assert shown.shape == (2, 3)
    assert shown[0, 0] == array[left_top[0], left_top[1], 0]


def test_coronal_and_sagittal_planes_stand_upright() -> None:
    array = np.zeros((2, 3, 1), np.uint8)
    array[0, 2] = 9  # low x (patient's left in RAS: x is right), high second axis
    coronal = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # axes right, up, front
    assert view(volume(array, coronal))[0, 1, 0] == 9  # top (up), picture's right (patient's left)
    sagittal = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # axes front, up, right
    assert view(volume(array, sagittal))[0, 1, 0] == 9  # top, and the back is at the right
    turned = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # axes front, right
    assert view(volume(array, turned)).shape == (2, 3, 3)
    assert view(volume(array, turned))[1, 0, 0] == 9  # axis 1 is right: high is left; axis 0 is front: low is down


@pytest.mark.parametrize("seed", range(8))
def test_from_picture_undoes_to_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    plane = rng.integers(0, 9, (3, 5))
    np.testing.assert_array_equal(from_picture(to_picture(plane, affine), affine), plane)


def test_left_and_right_lie_along_this_axis() -> None:
    assert side_axis(volume(np.zeros((2, 2, 1), np.uint8), None)) == 0
    assert side_axis(volume(np.zeros((2, 2, 1), np.uint8), RIGHT_ANTERIOR)) == 0
    assert side_axis(volume(np.zeros((2, 2, 1), np.uint8), RIGHT_ANTERIOR[[1, 0, 2, 3]])) == 1
    assert side_axis(volume(np.zeros((2, 2, 1), np.uint8), RIGHT_ANTERIOR[[2, 1, 0, 3]])) == -1


def test_grids_are_one_up_to_a_tenth_of_a_voxel() -> None:
    array = np.zeros((8, 8, 2), np.uint8)
    near, far = RIGHT_ANTERIOR.copy(), RIGHT_ANTERIOR.copy()
    near[0, 3] += 0.1  # 0.05 voxels of 2 mm
    far[0, 3] += 1.0
    assert same_grid(volume(array, RIGHT_ANTERIOR), volume(array, near))
    assert not same_grid(volume(array, RIGHT_ANTERIOR), volume(array, far))
    assert same_grid(volume(array, RIGHT_ANTERIOR), volume(array, None))
    assert not same_grid(volume(array, None), volume(array[:7], None))


def test_a_volume_needs_a_frame_within_it(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    nifti(tmp_path / "a.nii", array, RIGHT_ANTERIOR)
    np.testing.assert_array_equal(
        load_view(ImageRef(path="a.nii", frame=3), Context(tmp_path))[..., 0], array[:, :, 3].T
    )
    for frame, code in ((None, "frame-missing"), (4, "frame-out-of-range")):
        with pytest.raises(RecordError) as caught:
            load_view(ImageRef(path="a.nii", frame=frame), Context(tmp_path), "$.image[1]")
        assert (caught.value.reason, caught.value.path) == (code, "$.image[1].frame")


def test_the_hash_of_a_reference_is_checked(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", ct())
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_view(ImageRef(path="a.dcm", sha256=good), Context(tmp_path)).shape == (16, 16, 3)
    with pytest.raises(RecordError) as caught:
        load_view(ImageRef(path="a.dcm", sha256="0" * 64), Context(tmp_path))
    assert (caught.value.reason, caught.value.path) == ("sha256-mismatch", "$.image.sha256")


@pytest.mark.parametrize("path", ["../a.png", "/etc/hostname", "link.png", "file:///a.png", "a\0b"])
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    (root / "link.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(RecordError) as caught:
        load_view(ImageRef(path=path), Context(root))
    assert caught.value.reason == "path-escape"


def test_an_error_of_the_file_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(RecordError) as caught:
        load_view(ImageRef(path="a.dcm"), Context(tmp_path), "$.image[0]")
    assert (caught.value.reason, caught.value.path) == ("not-dicom", "$.image[0].path")
