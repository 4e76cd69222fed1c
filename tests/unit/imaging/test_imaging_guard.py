"""Whatever ends the process that reads files costs one file, and the next one is read."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, nifti, png

from medpo_cli.errors import RecordError
from medpo_cli.imaging import guard, read
from medpo_cli.imaging.guard import Guard

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)


def test_what_is_read_there_is_what_is_read_here(tmp_path: Path) -> None:
    padded = ct(PixelPaddingValue=3, WindowCenter=40, WindowWidth=80, PixelSpacing=[0.8, 0.7])
    files = [png(tmp_path / "a.png", PICTURE), dicom(tmp_path / "a.dcm", padded)]
    files.append(nifti(tmp_path / "a.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4), RIGHT_ANTERIOR))
    for path in files:
        here, (there, sha256) = read.load(path), guard.read(path)
        assert sha256 == here.sha256
        np.testing.assert_array_equal(there.array, here.image.array)
        assert there.array.dtype == here.image.array.dtype
        assert not there.array.flags.writeable
        for name in ("affine", "padding"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here.image, name))
        for name in ("kind", "spacing", "modality", "inverted", "window", "slope", "inter", "frames", "grid"):
            assert getattr(there, name) == getattr(here.image, name)


def _ended(process: Guard, number: int) -> None:
    assert process.pid is not None
    os.kill(process.pid, number)


def test_a_process_that_hangs_is_ended_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, process = png(tmp_path / "a.png", PICTURE), Guard()
    try:
        process.ask("image", path)
        _ended(process, signal.SIGSTOP)
        monkeypatch.setattr(guard, "SECONDS", 0.3)
        begin = time.monotonic()
        with pytest.raises(RecordError) as caught:
            process.ask("image", path)
        assert caught.value.reason == "decode-timeout"
        assert time.monotonic() - begin < 5
        monkeypatch.undo()
        assert process.ask("image", path)[1] is not None
    finally:
        process.end()


def test_a_file_is_not_judged_by_a_process_that_others_may_have_hurt(tmp_path: Path) -> None:
    path, process = png(tmp_path / "a.png", PICTURE), Guard()
    try:
        process.ask("image", path)
        _ended(process, signal.SIGKILL)
        assert process.ask("image", path)[1] is not None
    finally:
        process.end()


def test_the_first_file_of_a_process_that_dies_is_refused(tmp_path: Path) -> None:
    process = Guard()
    path = png(tmp_path / "a.png", PICTURE)
    try:
        process.ask("image", path)
        process._used = False  # as if it were its first file
        _ended(process, signal.SIGKILL)
        with pytest.raises(RecordError) as caught:
            process.ask("image", path)
        assert caught.value.reason == "decode-crash"
        assert process.ask("image", path)[1] is not None
    finally:
        process.end()


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nifti(tmp_path / "a.nii", np.zeros((512, 512, 1024), np.int8), RIGHT_ANTERIOR)
    monkeypatch.setattr(guard, "MEMORY", 2**28)
    process = Guard()
    try:
        with pytest.raises(RecordError) as caught:
            process.ask("image", path)
        assert caught.value.reason == "decode-memory"
    finally:
        process.end()
