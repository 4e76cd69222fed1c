"""Operators: what they leave, what they restore, and that nothing outside moves."""

import numpy as np
import pytest
from data.imaging_files import body_picture, disc

from medpo_cli.imaging.operators import OPERATORS, Settings
from medpo_cli.imaging.operators.fill import harmonic
from medpo_cli.imaging.operators.noise import gaussian
from medpo_cli.imaging.operators.texture import harmonic_texture
from medpo_cli.imaging.regions import ring, ring_width


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(mask: np.ndarray) -> np.ndarray:
    return mask[:, :, None]


MASK = flat(disc(64, (30, 33), 9))
UNSEEDED = {"harmonic", "biharmonic", "mirror", "ring-median", "blur"}
"""Operators that draw nothing."""


def apply(operator: str, array: np.ndarray, mask: np.ndarray, seed: int = 0, **settings: object) -> np.ndarray:
    """An operator with the symmetry that ``mirror`` needs, and patches small enough for small regions."""
    values = {"axis": 0, "total": array.shape[0] - 1, "patch": 3.0} | settings
    return OPERATORS[operator](array, mask, stream(seed), Settings(**values))  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_outside_is_bit_identical_and_the_type_stays(operator: str, dtype: str) -> None:
    array = stream().integers(20, 200, (64, 64, 1)).astype(dtype)
    before = array.copy()
    out = apply(operator, array, MASK)
    assert out.dtype == array.dtype
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(out[~MASK], array[~MASK])
    assert (out[MASK] != array[MASK]).mean() > (0.4 if operator == "patch-black" else 0.5)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_colour_and_volumes_work_alike(operator: str) -> None:
    colour = stream().integers(0, 256, (40, 40, 1, 3)).astype(np.uint8)
    mask = flat(disc(40, (20, 20), 6))
    out = apply(operator, colour, mask)
    np.testing.assert_array_equal(out[~mask], colour[~mask])
    volume = stream().integers(-1000, 1000, (24, 24, 12)).astype(np.int16)
    ball = np.zeros(volume.shape, bool)
    ball[8:14, 9:15, 3:8] = True
    out = apply(operator, volume, ball, spacing=(1, 1, 2.5), black=-1000.0)
    np.testing.assert_array_equal(out[~ball], volume[~ball])
    assert (out[ball] != volume[ball]).mean() > (0.4 if operator == "patch-black" else 0.9)


def test_gaussian_has_the_sigma_it_says() -> None:
    array = np.full((200, 200, 1), 10_000, np.int32)
    mask = np.ones(array.shape, bool)
    noise = gaussian(array, mask, stream(), Settings(sigma=45.0)) - 10_000
    # 40,000 draws: the mean has error 45 / 200 = 0.225, the deviation 45 / sqrt(80,000) = 0.16.
    assert abs(noise.mean()) < 4 * 0.225
    assert abs(noise.std() - 45) < 4 * 0.16
    hounsfield = gaussian(array, mask, stream(), Settings(sigma=45.0, unit=1500 / 255)) - 10_000
    assert hounsfield.std() == pytest.approx(45 * 1500 / 255, rel=0.02)  # 265 HU for a lung window


def test_gaussian_rounds_and_clips_to_the_type_not_to_a_window() -> None:
    array = np.full((300, 300, 1), 128, np.uint8)
    mask = np.ones(array.shape, bool)
    out = gaussian(array, mask, stream(), Settings(sigma=3.0)).astype(float)
    assert abs(out.mean() - 128) < 0.05  # Truncation would give 127.5.
    dark = gaussian(np.zeros_like(array), mask, stream(), Settings(sigma=45.0))
    # Half of N(0, 45) is cut off at 0: the mean is 45 / sqrt(2 pi) = 17.95, as the reference says.
    assert dark.mean() == pytest.approx(17.95, abs=0.3)
    signed = gaussian(np.zeros(array.shape, np.int16), mask, stream(), Settings(sigma=45.0))
    assert signed.min() < -100


def test_grey_colour_pictures_get_one_field_and_coloured_ones_three() -> None:
    mask = np.ones((20, 20, 1), bool)
    grey = np.full((20, 20, 1, 3), 128, np.uint8)
    out = gaussian(grey, mask, stream(), Settings(sigma=5.0))
    assert (out == out[..., :1]).all()
    grey = grey.copy()
    grey[0, 0, 0] = (1, 2, 3)
    out = gaussian(grey, mask, stream(), Settings(sigma=5.0))
    assert (out[1:] != out[1:, ..., :1]).any()


def test_harmonic_restores_a_linear_ramp() -> None:
    x, y = np.mgrid[:64, :64]
    ramp = (3 * x + 2 * y).astype(np.float64)[:, :, None]
    damaged = ramp.copy()
    damaged[MASK] = 0
    np.testing.assert_allclose(harmonic(damaged, MASK, stream(), Settings()), ramp, atol=1e-9)


def test_harmonic_restores_a_ramp_in_three_dimensions_with_uneven_spacing() -> None:
    x, y, z = np.mgrid[:20, :20, :12]
    ramp = (2.0 * x + y + 5 * z).astype(np.float32)
    mask = (x - 9) ** 2 + (y - 8) ** 2 + (z - 6) ** 2 <= 16
    damaged = np.where(mask, 0, ramp).astype(np.float32)
    np.testing.assert_allclose(harmonic(damaged, mask, stream(), Settings(spacing=(0.7, 0.7, 3))), ramp, atol=1e-3)


def test_harmonic_of_one_voxel_is_the_mean_of_its_neighbours() -> None:
    array = np.zeros((3, 3, 1))
    array[0, 1], array[2, 1], array[1, 0], array[1, 2] = 4, 8, 12, 16
    mask = np.zeros((3, 3, 1), bool)
    mask[1, 1] = True
    assert harmonic(array, mask, stream(), Settings())[1, 1, 0] == 10.0
    corner = np.zeros((3, 3, 1), bool)
    corner[0, 0] = True  # The edge is free: the mean of two neighbours, 4 and 12.
    assert harmonic(array, corner, stream(), Settings())[0, 0, 0] == 8.0


def test_harmonic_on_one_slice_of_a_volume_does_not_look_at_its_neighbours() -> None:
    volume = np.zeros((9, 9, 3))
    volume[:, :, 1] = 5
    volume[:, :, [0, 2]] = 99
    mask = np.zeros(volume.shape, bool)
    mask[3:6, 3:6, 1] = True
    assert harmonic(np.where(mask, 0, volume), mask, stream(), Settings())[mask] == pytest.approx(5)


def test_harmonic_with_nothing_around_is_an_error() -> None:
    with pytest.raises(ValueError, match="border"):
        harmonic(np.zeros((4, 4, 1)), np.ones((4, 4, 1), bool), stream(), Settings())


def test_texture_is_like_the_ring_and_the_bump_is_gone() -> None:
    texture = np.asarray(stream(3).normal(0, 6, (96, 96)))
    mask = flat(disc(96, (48, 50), 12))
    array = np.clip(100 + texture, 0, 255)[:, :, None]
    lesion = np.rint(array + 40 * mask).astype(np.uint8)
    near = ring(mask, ring_width(mask))
    out = harmonic_texture(lesion, mask, stream(1), Settings()).astype(float)
    assert abs(out[mask].mean() - out[near].mean()) < 4  # of 40: 10 %
    assert out[mask].std() / out[near].std() == pytest.approx(1, abs=0.25)
    smooth = harmonic(lesion, mask, stream(1), Settings()).astype(float)
    assert smooth[mask].std() < 0.5 * out[mask].std()


def test_a_picture_without_texture_gets_none() -> None:
    array = np.full((64, 64, 1), 50, np.uint8)
    array[MASK] = 90
    assert (harmonic_texture(array, MASK, stream(), Settings()) == 50).all()


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_the_stream_decides_and_nothing_else(operator: str) -> None:
    array = body_picture(64)[:, :, None]
    results = [apply(operator, array, MASK, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any() == (operator not in UNSEEDED)


def test_parts_that_do_not_touch_get_the_texture_of_their_own_surroundings() -> None:
    rough = stream(3).normal(0, 1, (120, 80, 1)) * np.where(np.arange(120) < 60, 3, 12)[:, None, None]
    mask = flat(disc(120, (30, 40), 9)[:, :80] | disc(120, (90, 40), 9)[:, :80])
    out = harmonic_texture(100 + rough, mask, stream(1), Settings())
    left, right = (out[half][mask[half]].std() for half in (slice(0, 60), slice(60, None)))
    assert left == pytest.approx(3, rel=0.25)
    assert right == pytest.approx(12, rel=0.25)


def test_an_edge_nearby_is_not_taken_for_texture() -> None:
    array = 100 + np.asarray(stream(3).normal(0, 3, (80, 80, 1)))
    mask = flat(disc(80, (40, 40), 10))
    array[:, 53:] += 100  # an organ's border, three pixels away
    assert harmonic_texture(array, mask, stream(1), Settings())[mask].std() < 8


def test_many_specks_share_one_texture_and_all_are_filled() -> None:
    array = 100 + np.asarray(stream(3).normal(0, 3, (64, 64, 1)))
    mask = np.zeros(array.shape, bool)
    mask[4:60:8, 4:60:8] = True
    out = harmonic_texture(np.where(mask, 200, array), mask, stream(1), Settings())
    assert (np.abs(out[mask] - 100) < 15).all()
