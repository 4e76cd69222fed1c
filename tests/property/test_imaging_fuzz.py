"""Damaged files of every format: an error of ours or an image, in time."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, nifti, png
from data.mark_files import rtstruct, seg
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging import guard

PICTURE = np.random.default_rng(1).integers(0, 256, (16, 16)).astype(np.uint8)
VOLUME = np.random.default_rng(2).integers(0, 999, (6, 5, 4)).astype(np.int16)
LONGEST = 20.0


def _jpeg(path: Path) -> Path:
    Pillow.fromarray(PICTURE).save(path)
    return path


def _itk(path: Path) -> Path:
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOLUME), str(path), useCompression=True)
    return path


FORMATS: dict[str, Callable[[Path], Path]] = {
    "a.dcm": lambda path: dicom(path, ct()),
    "a.nii": lambda path: nifti(path, VOLUME, RIGHT_ANTERIOR),
    "a.nii.gz": lambda path: nifti(path, VOLUME, RIGHT_ANTERIOR),
    "a.nrrd": _itk,
    "a.mha": _itk,
    "a.png": lambda path: png(path, PICTURE),
    "a.jpg": _jpeg,
    "a.tif": _jpeg,
    "seg.dcm": lambda path: dicom(path, seg([PICTURE > 99] * 3, [(0, 0, 0), (0, 0, 1), (0, 0, 2)], [1, 2, 1])),
    "rt.dcm": lambda path: dicom(path, rtstruct([(1, [(0, 0, 0), (4, 0, 0), (4, 4, 0), (0, 4, 0)])] * 5)),
}
MARKS = ("seg.dcm", "rt.dcm")


def damaged(data: bytes, seed: int) -> bytes:
    """One to eight bytes changed, mostly in the header; every fourth seed also cuts the file."""
    rng = np.random.default_rng(seed)
    copy = bytearray(data)
    reach = len(copy) if seed % 2 else min(len(copy), 512)
    for position in rng.integers(0, reach, rng.integers(1, 9)):
        copy[position] ^= int(rng.integers(1, 256))
    return bytes(copy[: rng.integers(1, len(copy))]) if seed % 4 == 0 else bytes(copy)


def attack(folder: Path, name: str, seeds: int) -> None:
    data = FORMATS[name](folder / name).read_bytes()
    for seed in range(seeds):
        path = folder / f"bad-{name}"
        path.write_bytes(damaged(data, seed))
        begin = time.monotonic()
        try:
            read = guard.read_marks if name in MARKS else guard.read
            read(path)
            reason = "read"
        except RecordError as error:
            reason = error.reason
        assert reason != "decode-timeout", seed
        assert time.monotonic() - begin < LONGEST, seed


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_in_time(tmp_path: Path, name: str) -> None:
    attack(tmp_path, name, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files_are_refused_in_time(tmp_path: Path, name: str) -> None:
    attack(tmp_path, name, 1000)
