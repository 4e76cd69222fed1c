"""NIfTI: the guard refuses what other readers swallow; the writer is exact and silent about the patient."""

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, nifti, patched

from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti as door
from medpo_cli.imaging.image import Image, frozen


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    """4x3x2 int16, values 0..23 in file order."""
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 1, 0)
    return nifti(tmp_path / "a.nii", array, RIGHT_ANTERIOR).read_bytes()


def reason(data: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        door.decode(data)
    return caught.value.reason


def test_reads_values_axes_and_affine_as_nibabel_does(sound: bytes) -> None:
    image = door.decode(sound)
    expected = nibabel.Nifti1Image.from_bytes(sound)
    assert image.array[1, 0, 0] == 1
    assert image.array[0, 1, 0] == 4
    assert image.array[0, 0, 1] == 12
    np.testing.assert_array_equal(image.array, np.asarray(expected.dataobj))
    np.testing.assert_array_equal(image.affine, expected.affine)
    assert image.spacing == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("code", "layout", "offset", "values"),
    [
        ("bad-header", "<i", 0, (7,)),
        ("unsupported-format", "<i", 0, (540,)),
        ("bad-header", "<4s", 344, (b"xxxx",)),
        ("detached-header", "<4s", 344, (b"ni1\0",)),
        ("bad-header", "<h", 42, (0,)),
        ("bad-header", "<h", 42, (-10,)),
        ("too-large", "<3h", 42, (16384, 16384, 1024)),
        ("truncated", "<h", 46, (3,)),
        ("shape-mismatch", "<h", 46, (1,)),
        ("unsupported-shape", "<5h", 40, (4, 2, 3, 2, 2)),
        ("bad-header", "<h", 70, (5,)),
        ("bad-header", "<h", 72, (8,)),
        ("unsupported-shape", "<2h", 70, (32, 64)),
        ("bad-header", "<f", 80, (0.0,)),
        ("bad-header", "<f", 80, (float("nan"),)),
        ("bad-header", "<f", 108, (1e9,)),
        ("bad-header", "<f", 108, (0.0,)),
        ("bad-header", "<f", 112, (float("inf"),)),
        ("bad-header", "<f", 280, (float("nan"),)),
        ("no-orientation", "<2h", 252, (0, 0)),
    ],
)
def test_header_faults_have_their_code(sound: bytes, code: str, layout: str, offset: int, values: tuple) -> None:
    assert reason(patched(sound, layout, offset, *values)) == code


def test_half_a_file_is_truncated_plain_and_zipped(sound: bytes) -> None:
    zipped = gzip.compress(np.random.default_rng(0).bytes(0) + sound)
    assert reason(sound[: len(sound) // 2 + 100]) == "truncated"
    assert reason(sound[:100]) == "truncated"
    assert reason(zipped[: len(zipped) // 2]) == "truncated"


def test_any_flipped_byte_of_the_gzip_body_is_noticed(sound: bytes) -> None:
    zipped = gzip.compress(sound)
    for position in range(12, len(zipped), 5):
        damaged = bytearray(zipped)
        damaged[position] ^= 0x40
        try:  # A flip in a run of zeros may unpack to the same bytes, which the checksum proves.
            again = door.decode(bytes(damaged))
        except RecordError:
            continue
        np.testing.assert_array_equal(again.array, door.decode(sound).array)
    damaged = bytearray(zipped)
    damaged[-6] ^= 0x01  # The checksum itself.
    assert reason(bytes(damaged)) == "gz-corrupt"


def test_garbage_after_gzip_and_a_bomb_are_refused(sound: bytes) -> None:
    assert reason(gzip.compress(sound) + b"garbage") == "gz-corrupt"
    assert reason(gzip.compress(sound + bytes(50_000_000))) == "too-large"


def test_gzip_members_may_be_concatenated(sound: bytes) -> None:
    two = gzip.compress(sound[:360]) + gzip.compress(sound[360:])
    np.testing.assert_array_equal(door.decode(two).array, door.decode(sound).array)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_voxels_are_refused(tmp_path: Path, bad: float) -> None:
    array = np.ones((3, 3, 1), np.float32)
    array[1, 1] = bad
    assert reason(nifti(tmp_path / "a.nii", array, np.eye(4)).read_bytes()) == "non-finite"


def test_slope_zero_means_no_scale_and_scaled_integers_stay_stored(sound: bytes) -> None:
    unscaled = door.decode(patched(sound, "<2f", 112, 0.0, 5.0))
    assert (unscaled.slope, unscaled.inter) == (1.0, 0.0)
    scaled = door.decode(patched(sound, "<2f", 112, 0.5, 5.0))
    assert scaled.array.dtype == np.int16
    assert scaled.scaled(scaled.array[3, 0, 0]) == 6.5  # 3 * 0.5 + 5
    again = door.decode(door.encode(scaled, scaled.array))
    np.testing.assert_array_equal(again.array, scaled.array)
    assert (again.slope, again.inter) == (0.5, 5.0)


def test_big_endian_is_read_in_native_order(sound: bytes) -> None:
    swapped = nibabel.Nifti1Image.from_bytes(sound)
    data = swapped.header.as_byteswapped(">").binaryblock + b"\0" * 4
    data += np.asarray(swapped.dataobj).T.astype(">i2").tobytes()
    image = door.decode(patched(data, ">f", 108, 352.0))
    assert image.array.dtype == np.dtype(np.int16)
    np.testing.assert_array_equal(image.array, np.asarray(swapped.dataobj))


def test_affine_prefers_sform_then_qform(sound: bytes) -> None:
    only_qform = patched(sound, "<2h", 252, 1, 0)
    expected = nibabel.Nifti1Image.from_bytes(only_qform).affine
    image = door.decode(only_qform)
    np.testing.assert_array_equal(image.affine, expected)
    again = door.decode(door.encode(image, image.array))
    np.testing.assert_array_equal(again.affine, expected)
    assert again.grid == image.grid


def test_a_sheared_affine_survives() -> None:
    affine = RIGHT_ANTERIOR.copy()
    affine[0, 1] = 0.5
    image = Image(array=frozen(np.zeros((3, 3, 3), np.int16)), kind="nifti", affine=affine)
    np.testing.assert_array_equal(door.decode(door.encode(image, image.array)).affine, affine)


def test_nothing_personal_is_copied(sound: bytes) -> None:
    secret = b"DOE^JANE"
    with_name = patched(sound, "<8s", 148, secret)  # descrip
    with_name = patched(with_name, "<8s", 228, secret)  # aux_file
    with_name = patched(with_name, "<8s", 14, secret)  # db_name
    image = door.decode(with_name)
    assert secret not in gzip.decompress(door.encode(image, image.array))


def test_bytes_are_the_same_each_time_and_hold_no_clock(sound: bytes) -> None:
    image = door.decode(sound)
    data = door.encode(image, image.array)
    assert data == door.encode(image, image.array)
    assert struct.unpack_from("<I", data, 4) == (0,)  # gzip's time


def test_colour_is_rgb24_as_other_readers_know_it(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 1, 3)).astype(np.uint8)
    image = Image(array=frozen(array), kind="png")
    path = tmp_path / "c.nii.gz"
    path.write_bytes(door.encode(image, image.array))
    other = nibabel.load(path)
    assert other.header.get_data_dtype().names == ("R", "G", "B")
    np.testing.assert_array_equal(np.asarray(other.dataobj)["G"], array[..., 1])
    np.testing.assert_array_equal(door.decode(path.read_bytes()).array, array)


def test_writing_another_shape_or_type_is_a_bug(sound: bytes) -> None:
    image = door.decode(sound)
    with pytest.raises(ValueError, match="differ"):
        door.encode(image, image.array.astype(np.int32))


def test_frames_without_geometry_are_marked_and_read_back() -> None:
    image = Image(array=frozen(np.zeros((3, 3, 2), np.uint8)), kind="dicom", frames=True, inverted=True)
    again = door.decode(door.encode(image, image.array))
    assert again.frames
    assert again.inverted
    assert again.affine is None
    assert again.spacing is None
