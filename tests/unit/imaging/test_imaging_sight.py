"""What is measured at the model's side: contrast that is left, and texture that gives a region away."""

import numpy as np
import pytest
from data.imaging_files import disc

from medpo_cli.imaging.image import Image, frozen
from medpo_cli.imaging.operators import OPERATORS, Settings
from medpo_cli.imaging.regions import grown, ring, ring_width
from medpo_cli.imaging.sight import Sight, remaining
from medpo_cli.schema.records import Window


def image_of(array: np.ndarray, **fields: object) -> Image:
    return Image(array=frozen(array), kind="png", **fields)  # type: ignore[arg-type]


def textured(size: int, spread: float = 6.0, seed: int = 3) -> np.ndarray:
    return 100 + np.random.default_rng(seed).normal(0, spread, (size, size, 1))


MASK = disc(96, (48, 50), 12)[:, :, None]


@pytest.mark.parametrize(("left", "expected"), [(40.0, 1.0), (10.0, 0.25), (0.0, 0.0), (-20.0, -0.5)])
def test_remaining_is_the_share_of_a_bump(left: float, expected: float) -> None:
    base = textured(96, 1.0)
    before, after = base + 40 * MASK, base + left * MASK
    sight = Sight(image_of(before), MASK, None, 336)
    assert remaining(sight.look(before), sight.look(after)) == pytest.approx(expected, abs=0.01)


def test_without_contrast_there_is_no_share() -> None:
    flat = textured(96)
    sight = Sight(image_of(flat), MASK, None, 336)
    assert remaining(sight.look(flat), sight.look(flat + MASK)) is None


def test_without_a_ring_there_is_nothing_to_compare() -> None:
    everything = np.ones((20, 20, 1), bool)
    array = textured(20)
    look = Sight(image_of(array), everything, None, 336).look(array)
    assert (look.contrast, look.texture, remaining(look, look)) == (0.0, None, None)


def test_contrast_is_seen_through_the_window() -> None:
    array = np.where(MASK, 3000.0, 0.0)
    sight = Sight(image_of(array), MASK, Window(center=0, width=2000), 336)
    assert sight.look(array).contrast == pytest.approx(127.5)  # 1000 of 2000 units show, the rest is cut off


@pytest.mark.parametrize("side", [96, 224, 336])
def test_noise_of_mean_zero_leaves_the_finding_and_the_model_sees_it_less_than_the_file(side: int) -> None:
    size = 672
    mask = disc(size, (300, 350), 60)[:, :, None]
    array = np.clip(np.rint(textured(size) + 40 * mask), 0, 255).astype(np.uint8)
    sight = Sight(image_of(array), mask, None, side)
    noisy = OPERATORS["gaussian"](array, mask, np.random.default_rng(0), Settings())
    filled = OPERATORS["harmonic-texture"](array, mask, np.random.default_rng(0), Settings())
    before = sight.look(array)
    assert remaining(before, sight.look(noisy)) == pytest.approx(1, abs=0.06)
    assert abs(remaining(before, sight.look(filled)) or 9) < 0.05
    texture, good = sight.look(noisy).texture, sight.look(filled).texture
    assert texture is not None
    assert good is not None
    assert texture > 2
    assert 0.8 < good < 1.25


def test_a_smooth_fill_and_a_smooth_picture() -> None:
    array = np.rint(textured(96)) + 40 * MASK
    sight = Sight(image_of(array), MASK, None, 336)
    smooth = sight.look(OPERATORS["harmonic"](array, MASK, np.random.default_rng(0), Settings())).texture
    assert smooth is not None
    assert smooth < 0.5
    plain = np.full((96, 96, 1), 100.0)
    assert Sight(image_of(plain), MASK, None, 336).look(plain).texture == 1.0


def test_shrinking_keeps_to_the_grid_of_the_whole_picture() -> None:
    from PIL import Image as Pillow

    size, side = 500, 168
    mask = disc(size, (210, 333), 31)[:, :, None]
    array = textured(size, 20.0).astype(np.float32)
    sight = Sight(image_of(array), mask, None, side)
    whole = np.asarray(Pillow.fromarray(array[:, :, 0]).resize((side, side), Pillow.Resampling.BICUBIC))
    cells = size / side
    first = [round((axis.cut.start + axis.low) / cells) for axis in sight.axes]
    part = whole[first[0] : first[0] + sight.axes[0].cells, first[1] : first[1] + sight.axes[1].cells]
    seen = sight._seen(array, 0)
    assert seen.shape == part.shape
    np.testing.assert_allclose(seen[3:-3, 3:-3], part[3:-3, 3:-3], atol=1e-2)


@pytest.mark.parametrize("center", [(2, 2), (95, 95), (0, 50), (48, 94)])
def test_regions_at_the_edge_are_looked_at_like_others(center: tuple[int, int]) -> None:
    mask = disc(96, center, 6)[:, :, None]
    array = textured(96) + 40 * mask
    for side in (30, 96):
        look = Sight(image_of(array), mask, None, side).look(array)
        assert look.contrast == pytest.approx(40, abs=8)


def test_a_finding_smaller_than_a_pixel_of_the_model_is_still_looked_at() -> None:
    mask = np.zeros((2000, 2000, 1), bool)
    mask[1000:1002, 500:502] = True
    array = np.where(mask, 200.0, 100.0)
    look = Sight(image_of(array), mask, None, 100).look(array)
    assert look.finding.size >= 1
    assert 0 < look.contrast < 5  # 4 of 400 pixels


def test_a_grown_region_is_measured_on_the_finding() -> None:
    finding, region = MASK, grown(MASK, 3, MASK)
    assert (region & ~finding).sum() == ring(finding, 3).sum()
    array = textured(96, 1.0) + 40 * finding
    sight = Sight(image_of(array), region, None, 336, finding)
    assert sight.look(array).contrast == pytest.approx(40, abs=0.5)
    assert Sight(image_of(array), region, None, 336).look(array).contrast < 35
    assert ring_width(region) > 0


def test_a_volume_is_looked_at_on_a_few_of_its_slices() -> None:
    volume = np.random.default_rng(0).normal(0, 5, (40, 40, 30))
    mask = np.zeros(volume.shape, bool)
    mask[15:25, 15:25, 2:28] = True
    sight = Sight(image_of(volume), mask, Window(center=0, width=255), 336)
    assert len(sight.slices) == 8
    assert (sight.slices[0], sight.slices[-1]) == (2, 27)
    assert sight.look(volume + 50 * mask).contrast == pytest.approx(50, abs=1)
