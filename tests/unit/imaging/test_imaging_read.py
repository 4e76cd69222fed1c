"""The door: what a file is comes from its bytes; what is not a file is not opened."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, nifti, png
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging.read import open_source, read_image

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)


def reason(path: Path) -> str:
    with pytest.raises(RecordError) as caught:
        read_image(path, field="$.image")
    assert (caught.value.path or "").startswith("$.image")
    assert str(path) not in caught.value.message
    return caught.value.reason


def test_the_suffix_is_not_evidence(tmp_path: Path) -> None:
    assert read_image(png(tmp_path / "a.dcm", PICTURE)).kind == "png"
    assert read_image(dicom(tmp_path / "a.png", ct())).kind == "dicom"
    assert read_image(nifti(tmp_path / "a.gz", np.zeros((2, 2, 1), np.uint8))).kind == "nifti"


def test_a_sibling_with_the_same_stem_is_not_read(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", np.full((2, 2, 1), 9, np.uint8))
    assert read_image(nifti(tmp_path / "a.nii.gz", np.full((2, 2, 1), 4, np.uint8))).array.max() == 4


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.dcm", b"", "empty-file"),
        ("a.dcm", b"hello" * 100, "not-dicom"),
        ("a.nii", b"hello" * 100, "bad-header"),
        ("a.png", b"hello" * 100, "unsupported-format"),
        ("a.gif", b"GIF89a" + bytes(50), "unsupported-format"),
        ("a.tif", b"II*\0" + bytes(50), "decode"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(30), "truncated"),
        ("a.nhdr", b"NRRD0004\nsizes: 4 4\ndata file: /etc/passwd\n\n", "detached-header"),
        ("a.nrrd", b"NRRD0004\ntype: uchar\nsizes: 99999 99999 9999\n\n", "too-large"),
        ("a.nrrd", b"NRRD0004\ntype: uchar\nsizes: x\n\n", "bad-header"),
        ("a.mhd", b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementDataFile = /etc/passwd\n", "detached-header"),
        (
            "a.mha",
            b"NDims = 2\nDimSize = 2 2\nElementDataFile=/etc/passwd\nElementDataFile = LOCAL\n",
            "detached-header",
        ),
        ("a.mha", b"ObjectType = Image\nDimSize = 2 2\nElementDataFile = LOCALS\n", "detached-header"),
        (
            "a.mha",
            b"NDims = 2\nDimSize = 9 9\nElementNumberOfChannels = 99999999\nElementDataFile = LOCAL\n",
            "too-large",
        ),
        ("a.mha", b"ObjectType = Image\nDimSize = 9999999 99999\nElementDataFile = LOCAL\n", "too-large"),
    ],
)
def test_what_is_no_image_has_its_code(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason(tmp_path / name) == code


def test_folders_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "not-regular"
    assert reason(tmp_path) == "not-regular"
    assert reason(Path(os.devnull)) == "not-regular"
    assert reason(tmp_path / "absent.png") == "file-not-found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    png(tmp_path / "a.png", PICTURE).chmod(0)
    assert reason(tmp_path / "a.png") == "unreadable"


def test_every_truncation_of_every_format_is_an_error_of_ours(tmp_path: Path) -> None:
    Pillow.fromarray(PICTURE.repeat(8, 0).repeat(8, 1)).save(tmp_path / "a.jpg")
    files = [png(tmp_path / "a.png", PICTURE), dicom(tmp_path / "a.dcm", ct()), tmp_path / "a.jpg"]
    files.append(nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 2), np.int16), RIGHT_ANTERIOR))
    for path in files:
        data = path.read_bytes()
        for keep in (1, 10, len(data) // 3, len(data) // 2, len(data) * 3 // 4):
            cut = tmp_path / f"cut-{keep}{path.suffix}"
            cut.write_bytes(data[:keep])
            with pytest.raises(RecordError):
                read_image(cut)


def test_byte_flips_never_escape_as_another_exception(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    files = [png(tmp_path / "a.png", PICTURE), dicom(tmp_path / "a.dcm", ct())]
    files.append(nifti(tmp_path / "a.nii", np.zeros((4, 4, 2), np.int16), RIGHT_ANTERIOR))
    for path in files:
        data = path.read_bytes()
        for number in range(60):
            damaged = bytearray(data)
            for position in rng.integers(0, min(len(data), 700), 3):
                damaged[position] ^= int(rng.integers(1, 256))
            flipped = tmp_path / f"{number}{path.suffix}"
            flipped.write_bytes(bytes(damaged))
            try:
                read_image(flipped)
            except RecordError:
                continue


def test_nrrd_and_mha_keep_geometry_and_refuse_damage(tmp_path: Path) -> None:
    import SimpleITK

    array = np.random.default_rng(0).integers(0, 999, (4, 5, 6)).astype(np.int16)  # [z, y, x]
    picture = SimpleITK.GetImageFromArray(array)
    picture.SetSpacing((2.0, 3.0, 4.0))
    picture.SetOrigin((10.0, 20.0, 30.0))
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(picture, str(tmp_path / name), useCompression=True)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, array.transpose(2, 1, 0))
        # LPS to RAS: x and y change sign.
        np.testing.assert_array_equal(image.affine, [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])
        data = bytearray((tmp_path / name).read_bytes())
        data[-20] ^= 0x40
        (tmp_path / f"bad-{name}").write_bytes(bytes(data))
        assert reason(tmp_path / f"bad-{name}") == "decode"


def test_one_frame_of_a_volume_moves_its_affine(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = nifti(tmp_path / "a.nii", array, RIGHT_ANTERIOR)
    one = read_image(path, frame=2)
    np.testing.assert_array_equal(one.array[:, :, 0], array[:, :, 2])
    assert one.affine is not None
    assert one.affine[2, 3] == 8.0  # slice 2 at 4 mm
    with pytest.raises(RecordError, match="frame 4 of 4"):
        read_image(path, frame=4)


def test_an_unchanged_file_is_decoded_once_and_a_changed_one_again(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", PICTURE)
    first = open_source(path)
    assert open_source(path) is first
    assert not first.image.array.flags.writeable
    png(path, PICTURE.repeat(2, 0))
    os.utime(path, ns=(1, 1))
    assert open_source(path).image.shape == (4, 6, 1)
    assert stat.S_ISREG(path.stat().st_mode)
