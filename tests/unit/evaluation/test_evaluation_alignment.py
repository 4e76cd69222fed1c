"""Vector 15 to the printed digits, identities, and twins written out as the two published codes compute."""

import math

import numpy as np
import pytest

from medpo_cli.evaluation.alignment import (
    attention_ratio,
    box_cover,
    energy,
    js_divergence,
    kl_divergence,
    pointing,
    relative,
)

CENTRE = np.zeros((4, 4), bool)
CENTRE[1:3, 1:3] = True
MAP = np.where(CENTRE, 5.0, 1.0).ravel()
COVER = CENTRE.ravel()


def test_vector_15() -> None:
    assert float(attention_ratio(MAP, COVER)) == 2.5
    assert f"{float(kl_divergence(MAP, COVER)):.6f}" == "0.470004"
    assert f"{float(js_divergence(MAP, COVER)):.6f}" == "0.151796"


def test_an_even_map_and_one_that_lies_inside() -> None:
    even = np.full(16, 0.3)
    assert float(attention_ratio(even, COVER)) == pytest.approx(1)
    assert float(kl_divergence(even, COVER)) == pytest.approx(math.log(4))
    assert float(energy(even, COVER.astype(float))) == pytest.approx(0.25)
    assert float(pointing(even, COVER)) == 0.25
    assert float(kl_divergence(even, np.ones(16, bool))) == pytest.approx(0)
    inside = COVER * 0.7
    assert float(attention_ratio(inside, COVER)) == pytest.approx(4)
    assert float(kl_divergence(inside, COVER)) == pytest.approx(0)
    assert float(js_divergence(inside, COVER)) == pytest.approx(0)
    assert float(energy(inside, COVER.astype(float))) == 1
    assert float(js_divergence(~COVER * 1.0, COVER)) == pytest.approx(math.log(2))


def test_a_map_of_nothing_is_not_a_number() -> None:
    maps = np.stack([np.zeros(16), MAP])
    for found in (
        energy(maps, COVER.astype(float)),
        pointing(maps, COVER),
        attention_ratio(maps, COVER),
        kl_divergence(maps, COVER),
        js_divergence(maps, COVER),
    ):
        assert math.isnan(found[0])
        assert math.isfinite(found[1])


def by_loops(a: list[float], m: list[int]) -> tuple[float, float, float]:
    """AR, KL and JS, one token at a time."""
    n, size, total = len(a), sum(m), sum(a)
    ratio = sum(x * y for x, y in zip(a, m, strict=True)) / (total / n * size)
    kl = js = 0.0
    for value, inside in zip(a, m, strict=True):
        p, q = inside / size, value / total
        r = (p + q) / 2
        if p:
            kl += p * math.log(p / max(q, 1e-12))
            js += p * math.log(p / r) / 2
        if q:
            js += q * math.log(q / r) / 2
    return ratio, kl, js


def as_upstream(a: np.ndarray, m: np.ndarray) -> tuple[float, float, float]:
    """The small constants where measure_attention.py of VGMED has them."""
    inside = np.flatnonzero(m)
    ratio = a[inside].sum() / (a.sum() / len(a) * len(inside) + 1e-8)
    ours, wanted = a / (a.sum() + 1e-8), m / m.sum()
    clipped = np.clip(wanted, 1e-12, 1)
    kl = (clipped * np.log(clipped / np.clip(ours, 1e-12, 1))).sum()
    middle = (ours + wanted) / 2
    js = sum((part * np.log((part + 1e-8) / (middle + 1e-8))).sum() for part in (ours, wanted)) / 2
    return ratio, kl, js


def test_twins() -> None:
    draw = np.random.default_rng(4)
    for _ in range(200):
        n = int(draw.integers(4, 60))
        maps, cover = draw.exponential(size=(3, n)) * draw.integers(0, 2, (3, n)), draw.random(n) < 0.3
        cover[0], maps[:, 1] = True, 1.0
        ours = np.stack([attention_ratio(maps, cover), kl_divergence(maps, cover), js_divergence(maps, cover)], 1)
        loops = [by_loops(row.tolist(), cover.astype(int).tolist()) for row in maps]
        np.testing.assert_allclose(ours, loops, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours, [as_upstream(row, cover) for row in maps], rtol=1e-5, atol=2e-6)
        shares = draw.random(n)
        wanted = [sum(a * s for a, s in zip(row, shares, strict=True)) / sum(row) for row in maps]
        np.testing.assert_allclose(energy(maps, shares), wanted)
        hits = [float(np.mean([cover[k] for k in range(n) if row[k] == max(row)])) for row in maps]
        np.testing.assert_allclose(pointing(maps, cover), hits)


def test_relative_attention_never_divides_by_nothing() -> None:
    np.testing.assert_allclose(relative(np.array([0.2, 0.0, 0.1]), np.array([0.1, 0.0, 0.0])), [2, 0, 1e7])


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((0, 0, 64, 48), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]),  # to the very edge of a token
        ((0, 0, 64.5, 48), [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]),  # a little over it
        ((100, 60, 101, 61), [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]),
        ((-20, -20, 500, 10), [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]),  # beyond the picture
        ((-40, -40, -33, -25), np.zeros((3, 4), int).tolist()),
        ((500, 500, 510, 510), np.zeros((3, 4), int).tolist()),
    ],
)
def test_boxes_cover_tokens_by_floor_and_ceiling(box: tuple[float, ...], wanted: list[list[int]]) -> None:
    cover = box_cover([box], (72, 128), (3, 4))  # type: ignore[list-item]
    np.testing.assert_array_equal(cover.reshape(3, 4), np.array(wanted, bool))


def test_several_boxes_are_joined() -> None:
    both = box_cover([(0, 0, 10, 10), (120, 70, 128, 72)], (72, 128), (3, 4))
    assert both.sum() == 2
    assert both[0]
    assert both[-1]
