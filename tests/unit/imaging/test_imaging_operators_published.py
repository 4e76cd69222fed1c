"""Operators of published methods and the fills beside the default: their arithmetic, by hand where it can be."""

import numpy as np
import pytest
from data.imaging_files import body_picture, disc

from medpo_cli.errors import RecordError
from medpo_cli.imaging.operators import ESCALATION, OPERATORS, Settings
from medpo_cli.imaging.operators.cut import area_crop, patch_black
from medpo_cli.imaging.operators.fill import biharmonic, blur, mirror, ring_median
from medpo_cli.imaging.operators.noise import alpha_bar, diffusion, gaussian, normals, replace, ring_noise, shuffle
from medpo_cli.imaging.regions import ring, ring_width

MASK = disc(64, (30, 33), 9)[:, :, None]
ALL = np.ones((200, 200, 1), bool)


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_noise_held_on_blocks_keeps_its_sigma_when_the_picture_is_shrunk() -> None:
    array = np.full((200, 200, 1), 128.0)
    noise = (gaussian(array, ALL, stream(), Settings(sigma=10.0, step=4.0)) - 128)[:, :, 0]
    blocks = noise.reshape(50, 4, 50, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()  # one draw for each 4 x 4 pixels
    shrunk = blocks.mean(axis=(1, 3))
    assert shrunk.std() == pytest.approx(10, rel=0.05)
    single = gaussian(array, ALL, stream(), Settings(sigma=10.0)) - 128
    # The mean of 16 independent draws has a quarter of their deviation: what a model sees of noise at the source.
    assert single.reshape(50, 4, 50, 4).mean(axis=(1, 3)).std() == pytest.approx(2.5, rel=0.05)


def test_blocks_lie_on_the_grid_of_the_picture_not_of_the_region() -> None:
    mask = np.zeros((12, 12, 1), bool)
    mask[3:9, 3:9] = True
    field = np.zeros(mask.shape)
    field[mask] = normals(field, mask, stream(), 4.0)
    assert len(np.unique(field[mask])) == 9  # columns and rows 3, 4-7 and 8 fall into three blocks each
    assert (field[4:8, 4:8] == field[4, 4]).all()
    assert field[3, 3] != field[4, 4]


def test_schedule_of_vcd() -> None:
    # Survey of VCD's own function: .988, .745 and .133 of the variance are left at 200, 500 and 900.
    assert [round(alpha_bar(step), 3) for step in (200, 500, 900)] == [0.988, 0.745, 0.133]


@pytest.mark.parametrize(("sign", "black"), [(1.0, -1000.0), (-1.0, 1000.0)])
def test_diffusion_mixes_on_the_scale_of_the_view(sign: float, black: float) -> None:
    value = 500.0
    settings = Settings(unit=2000 / 255, black=black, sign=sign, timestep=500)
    out = diffusion(np.full(ALL.shape, value), ALL, stream(), settings)
    kept = alpha_bar(500)
    grey = sign * (value - black) / 1000 - 1  # -1 is black, 1 white
    assert out.mean() == pytest.approx(black + sign * (np.sqrt(kept) * grey + 1) * 1000, abs=12)
    assert out.std() == pytest.approx(np.sqrt(1 - kept) * 1000, rel=0.02)


def test_replace_is_nearly_black_as_in_mmedpo() -> None:
    out = replace(np.full(ALL.shape, 178, np.uint8), ALL, stream(), Settings(sigma=10.0))
    assert out.mean() == pytest.approx(4, abs=0.3)  # half of N(0, 10) is cut off: 10 / sqrt(2 pi) = 3.99
    hounsfield = replace(np.zeros(ALL.shape, np.int16), ALL, stream(), Settings(sigma=10.0, unit=4.0, black=-600.0))
    assert hounsfield.min() == -600
    inverted = replace(np.zeros(ALL.shape, np.uint8), ALL, stream(), Settings(sigma=10.0, black=255.0, sign=-1.0))
    assert inverted.max() == 255
    assert inverted.mean() == pytest.approx(251, abs=0.3)


def test_shuffle_keeps_the_histogram_and_voxels_whole() -> None:
    array = stream().integers(0, 256, (40, 40, 1, 3)).astype(np.uint8)
    mask = disc(40, (20, 20), 6)[:, :, None]
    out = shuffle(array, mask, stream(1), Settings())
    assert sorted(map(tuple, out[mask].tolist())) == sorted(map(tuple, array[mask].tolist()))


def test_ring_operators_take_what_lies_around_each_part() -> None:
    array = np.where(np.arange(120)[:, None, None] < 60, 50, 200) * np.ones((120, 64, 1), np.int64)
    left, right = disc(120, (30, 32), 8)[:, :64, None], disc(120, (90, 32), 8)[:, :64, None]
    damaged = np.where(left | right, 7, array)
    for operator in (ring_noise, ring_median):
        np.testing.assert_array_equal(operator(damaged, left | right, stream(), Settings()), array)


def test_ring_noise_has_the_values_of_the_ring() -> None:
    array = body_picture(64).T[:, :, None]
    near = ring(MASK, ring_width(MASK))
    assert set(ring_noise(array, MASK, stream(), Settings())[MASK]) <= set(array[near])


def test_ring_median_by_hand() -> None:
    array = np.arange(25.0).reshape(5, 5, 1)
    mask = np.zeros(array.shape, bool)
    mask[2, 2] = True
    # Within 2 voxels of the middle lie 12 others, symmetric about 12.
    assert ring_median(array, mask, stream(), Settings())[2, 2, 0] == 12


def test_biharmonic_restores_a_curved_surface_that_harmonic_cannot() -> None:
    x, y = np.mgrid[:64, :64]
    surface = (0.05 * (x - 30) ** 2 + x * y / 40)[:, :, None]
    damaged = np.where(MASK, 0, surface)
    out = biharmonic(damaged, MASK, stream(), Settings())
    harmonic = OPERATORS["harmonic"](damaged, MASK, stream(), Settings())
    assert np.abs(out - surface).max() < 0.2 * np.abs(harmonic - surface).max()


def test_biharmonic_refuses_what_would_take_minutes() -> None:
    mask = np.zeros((200, 200, 1), bool)
    mask[:150, :150] = True
    with pytest.raises(RecordError) as caught:
        biharmonic(np.zeros(mask.shape), mask, stream(), Settings())
    assert caught.value.reason == "mask-too-large"


def test_blur_is_the_gaussian_of_the_whole_picture() -> None:
    from scipy import ndimage

    array = stream().normal(0, 50, (64, 64, 1))
    out = blur(array, MASK, stream(), Settings(blur=0.5))
    width = 0.5 * np.sqrt(MASK.sum() / np.pi)
    np.testing.assert_allclose(
        out[MASK], ndimage.gaussian_filter(array[:, :, 0], width)[MASK[:, :, 0]], rtol=1e-3, atol=0.1
    )


def test_mirror_takes_the_other_side_without_a_step_in_brightness() -> None:
    half = stream(2).normal(100, 10, (32, 64, 1))
    array = np.concatenate([half, half[::-1] + 40])  # one side is brighter by 40
    mask = disc(64, (15, 33), 8)[:, :, None]
    out = mirror(np.where(mask, 0, array), mask, stream(), Settings(axis=0, total=63))
    np.testing.assert_allclose(out, array, atol=1e-6)


@pytest.mark.parametrize("settings", [Settings(), Settings(axis=0, total=20), Settings(axis=1, total=150)])
def test_no_mirror_without_another_side(settings: Settings) -> None:
    with pytest.raises(RecordError) as caught:
        mirror(np.zeros((64, 64, 1)), MASK, stream(), settings)
    assert caught.value.reason == "no-mirror"


def test_patches_are_those_of_the_picture_and_as_many_as_the_share_says() -> None:
    out = patch_black(np.full(ALL.shape, 200, np.uint8), ALL, stream(), Settings(patch=4.0, share=0.6))
    blocks = out.reshape(50, 4, 50, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert (out == 0).mean() == pytest.approx(0.6, abs=0.04)
    everything = patch_black(np.full(ALL.shape, 200, np.uint8), ALL, stream(), Settings(patch=4.0, share=1.0))
    assert (everything == 0).all()
    hounsfield = patch_black(np.zeros(ALL.shape, np.int16), ALL, stream(), Settings(patch=400.0, share=0.0, black=-600))
    assert (hounsfield == -600).all()  # no patch was drawn: the region is blackened whole


def test_the_crop_magnifies_a_part_of_the_region() -> None:
    x = np.arange(200.0)
    ramp = x[:, None, None] + np.zeros((200, 200, 1))
    out = area_crop(ramp, ALL, stream(), Settings())
    slope = np.diff(out[:, 0, 0])
    np.testing.assert_allclose(slope, slope[0])
    # A crop of 1 to 20 % of the area has 0.1 to 0.447 of the side: so much of the slope is left.
    assert 0.1 <= slope[0] <= 0.2**0.5
    assert out.min() >= 0
    assert out.max() <= 199


def test_noise_regions_without_surroundings() -> None:
    for operator in ("ring-noise", "ring-median", "biharmonic"):
        with pytest.raises(RecordError) as caught:
            OPERATORS[operator](np.zeros((8, 8, 1)), np.ones((8, 8, 1), bool), stream(), Settings())
        assert caught.value.reason == "mask-too-large"
    for operator in ("gaussian", "diffusion", "replace", "shuffle", "patch-black", "area-crop"):
        OPERATORS[operator](np.zeros((8, 8, 1)), np.ones((8, 8, 1), bool), stream(), Settings())


def test_the_escalation_names_operators() -> None:
    assert {name for name, _ in ESCALATION} <= set(OPERATORS)
