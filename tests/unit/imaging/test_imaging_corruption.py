"""One corrupted image: its name, its seed, its file, and the proof read back from it."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import body_picture, disc

from medpo_cli.errors import CannotCreateError, OutputError, RecordError
from medpo_cli.imaging import nifti, proof
from medpo_cli.imaging.corruption import destroy, feathered, key_of, parameters_of, settings_of, stream_of
from medpo_cli.imaging.image import Image, content_hash, frozen
from medpo_cli.imaging.window import grey
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Window

IMAGE = Image(array=frozen(body_picture(64).T[:, :, None].copy()), kind="png")
MASK = disc(64, (30, 33), 6)[:, :, None]


def test_the_key_names_everything_that_matters() -> None:
    content = content_hash(IMAGE)
    base = key_of(content, MASK, "gaussian", {"sigma": 45.0}, 0)
    assert base == key_of(content, MASK.copy(), "gaussian", {"sigma": 45.0}, 0)
    others = [
        key_of(content_hash(dataclasses.replace(IMAGE, slope=2.0)), MASK, "gaussian", {"sigma": 45.0}, 0),
        key_of(content, np.roll(MASK, 1, 0), "gaussian", {"sigma": 45.0}, 0),
        key_of(content, MASK, "harmonic", {"sigma": 45.0}, 0),
        key_of(content, MASK, "gaussian", {"sigma": 44.0}, 0),
        key_of(content, MASK, "gaussian", {"sigma": 45.0}, 1),
    ]
    assert len({base, *others}) == 6
    seed, rng = stream_of(base)
    assert 0 <= seed < 2**53
    assert rng.random() == stream_of(base)[1].random()


def test_content_hash_sees_values_place_and_polarity_not_the_format() -> None:
    base = content_hash(IMAGE)
    assert base == content_hash(dataclasses.replace(IMAGE, kind="nifti"))
    changed = IMAGE.array.copy()
    changed[5, 5] += 1
    for other in ({"array": changed}, {"inverted": True}, {"affine": np.eye(4)}, {"spacing": (1.0, 1.0, 2.0)}):
        assert content_hash(dataclasses.replace(IMAGE, **other)) != base


def test_noise_of_windowed_images_is_scaled_to_the_window() -> None:
    hounsfield = Image(array=frozen(np.zeros((8, 8, 1), np.int16)), kind="dicom", window=Window(center=50, width=400))
    assert parameters_of("gaussian", CorruptConfig(), IMAGE, None) == {"sigma": 45.0}
    expected = {"sigma": 45.0, "window_center": 50.0, "window_width": 400.0}
    assert parameters_of("gaussian", CorruptConfig(), hounsfield, None) == expected
    assert parameters_of("gaussian", CorruptConfig(), hounsfield, Window(center=0, width=80))["window_width"] == 80
    assert parameters_of("harmonic", CorruptConfig(), hounsfield, None) == {}


def test_scaled_sigma_reaches_the_stored_values(tmp_path: Path) -> None:
    image = Image(array=frozen(np.zeros((64, 64, 1), np.int16)), kind="nifti", slope=0.5)
    mask = disc(64, (32, 32), 20)[:, :, None]
    parameters = {"sigma": 51.0, "window_center": 0.0, "window_width": 500.0}
    made = destroy(image, b"k" * 16, mask, "gaussian", parameters, tmp_path)
    noise = nifti.decode((tmp_path / made.name).read_bytes()).array[mask]
    # 51 of 255 grey levels are 100 units of a 500 wide window, and 200 stored steps at slope 0.5.
    assert noise.std() == pytest.approx(200, rel=0.1)


def test_a_feather_rises_inside_and_is_whole_in_the_middle() -> None:
    mask = np.zeros((15, 15, 1), bool)
    mask[2:13, 2:13] = True
    before, after = np.zeros(mask.shape, np.uint8), np.where(mask, 100, 0).astype(np.uint8)
    row = feathered(before, after, mask, 3)[:, 7, 0]
    # Depths 1, 2, 3, 4 of a width of 3: a quarter, a half, three quarters, all.
    assert row.tolist() == [0, 0, 25, 50, 75, 100, 100, 100, 100, 100, 75, 50, 25, 0, 0]
    edge = np.ones((5, 5, 1), bool)  # where the region meets the picture's edge there is no outside to fade to
    assert (feathered(before[:5, :5], np.full((5, 5, 1), 100, np.uint8), edge, 3) == 100).all()


@pytest.mark.parametrize(("slope", "inverted"), [(1.0, False), (2.0, False), (-1.0, False), (1.0, True), (-2.0, True)])
def test_black_and_unit_are_those_of_the_view(slope: float, inverted: bool) -> None:
    image = Image(array=frozen(np.zeros((8, 8, 1), np.int16)), kind="nifti", slope=slope, inter=10.0, inverted=inverted)
    parameters = parameters_of("replace", CorruptConfig(), image, Window(center=40, width=255))
    settings = settings_of(parameters, image)
    values = settings.black + settings.sign * settings.unit * np.array([0.0, 100.0, 255.0])
    shown = grey(image, values[:, None], Window(center=40, width=255))
    assert shown.ravel().tolist() == [0, 100, 255]


def test_parameters_are_those_that_the_operator_uses() -> None:
    large = Image(array=frozen(np.zeros((1024, 700, 1), np.uint8)), kind="png")
    config = CorruptConfig(sigma_at="model", model_side=256, feather=2)
    shared = {"feather": 2}
    assert parameters_of("harmonic-texture", config, large, None) == shared
    assert parameters_of("gaussian", config, large, None) == {"sigma": 45.0, "step": 4.0, **shared}
    assert parameters_of("replace", config, large, None) == {"sigma": 10.0, "step": 4.0, **shared}
    assert parameters_of("diffusion", config, large, None) == {"timestep": 500, "step": 4.0, **shared}
    assert parameters_of("patch-black", config, large, None) == {"patch": 56.0, "share": 0.6, **shared}
    assert parameters_of("blur", config, large, None) == {"blur": 0.5, **shared}
    assert parameters_of("mirror", config, large, None, (0, 99)) == {"axis": 0, "total": 99, **shared}
    assert parameters_of("gaussian", CorruptConfig(sigma_at="model"), IMAGE, None) == {"sigma": 45.0}  # 64 pixels


def test_file_name_is_the_key_and_the_proof_is_of_the_file(tmp_path: Path) -> None:
    key = key_of(content_hash(IMAGE), MASK, "harmonic-texture", {}, 0)
    made = destroy(IMAGE, key, MASK, "harmonic-texture", {}, tmp_path / "deep" / "folder")
    assert made.name == f"{key.hex()}.nii.gz"
    path = tmp_path / "deep" / "folder" / made.name
    written = nifti.decode(path.read_bytes())
    assert made.proof.voxels == MASK.sum()
    assert made.proof.outside == proof.outside_hash(written.array, MASK) == proof.outside_hash(IMAGE.array, MASK)
    assert made.proof.changed == (written.array[MASK] != IMAGE.array[MASK]).mean()
    assert [entry.name for entry in path.parent.iterdir()] == [made.name]
    inode = path.stat().st_ino
    assert destroy(IMAGE, key, MASK, "harmonic-texture", {}, path.parent) == made
    assert path.stat().st_ino == inode  # written once


def test_contrast_is_inside_minus_ring_in_image_units(tmp_path: Path) -> None:
    array = np.full((32, 32, 1), 100, np.int16)
    mask = disc(32, (16, 16), 5)[:, :, None]
    array[mask] = 140
    image = Image(array=frozen(array), kind="nifti", slope=0.5, inter=7.0)
    made = destroy(image, b"k" * 16, mask, "harmonic", {}, tmp_path)
    assert made.proof.contrast_before == 20.0
    assert made.proof.contrast_after == 0.0
    assert made.proof.changed == 1.0


def test_a_file_that_differs_outside_is_noticed(tmp_path: Path) -> None:
    other = IMAGE.array.copy()
    other[0, 0] += 1
    path = tmp_path / "a.nii.gz"
    path.write_bytes(nifti.encode(IMAGE, other))
    with pytest.raises(OutputError, match="outside"):
        proof.prove(IMAGE, path, MASK)
    path.write_bytes(nifti.encode(dataclasses.replace(IMAGE, affine=np.eye(4)), IMAGE.array))
    with pytest.raises(OutputError, match="outside"):
        proof.prove(IMAGE, path, MASK)


def test_a_region_without_surroundings_is_too_large_for_a_fill(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        destroy(IMAGE, b"k" * 16, np.ones((64, 64, 1), bool), "harmonic", {}, tmp_path)
    assert caught.value.reason == "mask-too-large"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_cannot_be_created_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotCreateError):
        destroy(IMAGE, b"k" * 16, MASK, "harmonic", {}, tmp_path / "x")


def test_a_file_in_place_of_the_folder_cannot_be_created_in(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CannotCreateError):
        destroy(IMAGE, b"k" * 16, MASK, "harmonic", {}, tmp_path / "x")


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError):
        destroy(IMAGE, b"k" * 16, MASK, "harmonic", {}, tmp_path)
    assert not list(tmp_path.iterdir())
