"""Images between clean and corrupted: values by hand, types, and the file's proof."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import body_picture, disc

from medpo_cli.errors import OutputError
from medpo_cli.imaging import ladder, nifti
from medpo_cli.imaging.corruption import destroy
from medpo_cli.imaging.image import Image, frozen

MASK = disc(64, (30, 33), 6)[:, :, None]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_values_between_by_hand(dtype: type) -> None:
    clean = np.array([[[0], [10], [7]]], dtype)
    corrupted = np.array([[[0], [20], [2]]], dtype)
    mask = np.array([[[False], [True], [True]]])
    mixed = ladder.between(clean, corrupted, mask, 0.25)
    # 10 + 2.5 and 7 - 1.25, to the nearest (even) integer
    expected = [0, 12.5, 5.75] if np.issubdtype(dtype, np.floating) else [0, 12, 6]
    assert mixed.dtype == clean.dtype
    assert mixed.ravel().tolist() == expected
    assert ladder.between(clean, corrupted, mask, 0.0).tolist() == clean.tolist()
    assert ladder.between(clean, corrupted, mask, 1.0).tolist() == corrupted.tolist()
    assert clean.ravel().tolist() == [0, 10, 7]


def test_extreme_values_do_not_wrap() -> None:
    clean, corrupted = np.full((1, 1, 1), -32768, np.int16), np.full((1, 1, 1), 32767, np.int16)
    mask = np.ones((1, 1, 1), bool)
    assert ladder.between(clean, corrupted, mask, 0.75).item() == 16383  # -32768 + .75 * 65535 = 16383.25


@pytest.mark.parametrize("colour", [False, True])
def test_a_written_rung_is_proven_and_the_same_each_time(tmp_path: Path, colour: bool) -> None:
    picture = body_picture(64).T[:, :, None].copy()
    image = Image(array=frozen(np.repeat(picture[..., None], 3, -1) if colour else picture), kind="png")
    end = destroy(image, b"k" * 16, MASK, "gaussian", {"sigma": 45.0}, tmp_path)
    made = ladder.write(image, tmp_path / end.name, b"r" * 16, MASK, 0.5)
    again = ladder.write(image, tmp_path / end.name, b"r" * 16, MASK, 0.5)
    assert made == again
    assert made.proof.outside == end.proof.outside
    rung, last = (nifti.decode((tmp_path / name).read_bytes()).array for name in (made.name, end.name))
    np.testing.assert_array_equal(rung[~MASK], image.array[~MASK])
    exact = (image.array[MASK].astype(float) + last[MASK]) / 2
    assert np.abs(rung[MASK] - exact).max() <= 0.5


def test_an_end_that_differs_outside_changes_nothing_there(tmp_path: Path) -> None:
    image = Image(array=frozen(body_picture(64).T[:, :, None].copy()), kind="png")
    other = image.array.copy()
    other[0, 0] += 9
    (tmp_path / "end.nii.gz").write_bytes(nifti.encode(image, other))
    made = ladder.write(image, tmp_path / "end.nii.gz", b"r" * 16, MASK, 0.5)
    np.testing.assert_array_equal(nifti.decode((tmp_path / made.name).read_bytes()).array, image.array)


def test_a_file_that_cannot_be_proven_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(array=frozen(body_picture(64).T[:, :, None].copy()), kind="png")
    end = destroy(image, b"k" * 16, MASK, "gaussian", {"sigma": 45.0}, tmp_path)
    monkeypatch.setattr(ladder, "between", lambda clean, *_rest: clean + 1)
    with pytest.raises(OutputError, match="outside the region"):
        ladder.write(image, tmp_path / end.name, b"r" * 16, MASK, 0.5)
