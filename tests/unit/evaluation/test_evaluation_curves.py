"""Calibration, risk over coverage and area under ROC against the published vector and brute force."""

import itertools
import math

import numpy as np
import pytest

from medpo_cli.evaluation.curves import calibration_error, reliability, risk_area, risk_curve, roc_area
from medpo_cli.evaluation.grounding import probability_counts

ONE = np.ones((1, 5))


def test_published_vector() -> None:
    """Vector 17 of the reference page: ECE .37 with 10 bins, Brier .2025 beside it."""
    p, truth = np.array([0.95, 0.85, 0.75, 0.65, 0.55]), np.array([1.0, 1, 0, 1, 0])
    asked = [probability_counts(math.log(a), math.log(1 - a), bool(b)) for a, b in zip(p, truth, strict=True)]
    assert np.mean([counts["closed.brier"] for counts in asked]) == pytest.approx(0.2025, abs=1e-12)
    assert [counts["closed.p_yes"] for counts in asked] == list(p)
    assert calibration_error(p, truth, ONE)[0] == pytest.approx(0.37, abs=1e-12)
    table = reliability(p, truth)
    assert table["low"] == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert table["observed"] == [0, 1, 0, 1, 1]
    assert sum(table["n"]) == 5


def test_bins_are_closed_on_the_right() -> None:
    p = np.array([0.0, 0.1, 0.1 + 1e-9, 0.3, 0.7, 1.0])
    assert reliability(p, p)["low"] == [0.0, 0.1, 0.2, 0.6, 0.9]
    assert reliability(p, p)["n"] == [2, 1, 1, 1, 1]


def _copies(weights: np.ndarray) -> list[int]:
    return [k for k, times in enumerate(weights) for _ in range(int(times))]


def _ece(p: np.ndarray, truth: np.ndarray, drawn: list[int]) -> float:
    """By the definition: items sorted into bins one by one."""
    total = 0.0
    for low in range(10):
        own = [k for k in drawn if low / 10 < p[k] <= (low + 1) / 10 or (low == 0 and p[k] == 0)]
        if own:
            total += abs(sum(p[k] for k in own) / len(own) - sum(truth[k] for k in own) / len(own)) * len(own)
    return total / len(drawn)


def _aurc(confidence: np.ndarray, wrong: np.ndarray, drawn: list[int]) -> float:
    """Mean over all orders that confidence allows (so few items that all can be listed)."""
    areas = []
    for order in itertools.permutations(drawn):
        ranked = [confidence[k] for k in order]
        if ranked == sorted(ranked, reverse=True):
            errors = np.cumsum([wrong[k] for k in order])
            areas.append(np.mean(errors / np.arange(1, len(order) + 1)))
    return float(np.mean(areas))


def _auc(values: np.ndarray, positive: np.ndarray, strata: list[str], drawn: list[int]) -> float:
    """Counting pairs."""
    won = pairs = 0.0
    for a in drawn:
        for b in drawn:
            if positive[a] and not positive[b] and strata[a] == strata[b]:
                pairs += 1
                won += float(values[a] > values[b]) + 0.5 * float(values[a] == values[b])
    return won / pairs if pairs else float("nan")


@pytest.mark.parametrize("seed", range(8))
def test_brute_force_twins(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = 6
    p = draw.integers(0, 8, n) / 7
    truth = draw.integers(0, 2, n).astype(float)
    weights = draw.multinomial(n, np.ones(n) / n, size=12).astype(float)
    weights[0] = 1
    strata = [str(name) for name in draw.integers(0, 2, n)]
    ece, aurc = calibration_error(p, truth, weights), risk_area(p, truth, weights)
    auc = roc_area(p, truth > 0, strata, weights)
    for row, times in enumerate(weights):
        drawn = _copies(times)
        assert ece[row] == pytest.approx(_ece(p, truth, drawn), abs=1e-12)
        assert auc[row] == pytest.approx(_auc(p, truth > 0, strata, drawn), abs=1e-12, nan_ok=True)
    for row in range(3):
        assert aurc[row] == pytest.approx(_aurc(p, truth, _copies(weights[row])), abs=1e-12)


def test_areas_by_hand() -> None:
    """Errors last: risks 0, 0, 1/3, 2/4; errors first: 1, 1, 2/3, 2/4."""
    confidence, ones = np.array([0.9, 0.8, 0.7, 0.6]), np.ones((1, 4))
    assert risk_area(confidence, np.array([0.0, 0, 1, 1]), ones)[0] == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert risk_area(confidence, np.array([1.0, 1, 0, 0]), ones)[0] == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)


def test_area_under_roc_knows_no_bias() -> None:
    values, positive = np.array([1.0, 3, 2, 4]), np.array([False, True, False, True])
    shifted = roc_area(values - 100, positive, ["a"] * 4, np.ones((1, 4)))
    assert shifted[0] == roc_area(values, positive, ["a"] * 4, np.ones((1, 4)))[0] == 1.0


def test_nothing_to_count_is_not_a_number() -> None:
    nothing, empty = np.zeros((1, 2)), np.zeros((1, 0))
    p, truth = np.array([0.2, 0.8]), np.array([0.0, 1.0])
    none = np.array([])
    assert np.isnan(calibration_error(p, truth, nothing)[0])
    assert np.isnan(risk_area(p, truth, nothing)[0])
    assert np.isnan(roc_area(p, truth > 0, ["a", "b"], np.ones((1, 2)))[0])
    assert np.isnan(risk_area(none, none, empty)[0])
    assert np.isnan(roc_area(none, none > 0, [], empty)[0])


def test_curve_ends_at_the_error_rate_of_all() -> None:
    draw = np.random.default_rng(1)
    confidence, wrong = draw.random(731), (draw.random(731) < 0.3).astype(float)
    curve = risk_curve(confidence, wrong)
    assert len(curve["coverage"]) == 100
    assert (curve["coverage"][-1], curve["risk"][-1]) == (1.0, pytest.approx(wrong.mean()))
    assert curve["threshold"] == sorted(curve["threshold"], reverse=True)
    full = risk_curve(confidence, wrong, points=731)
    assert np.mean(full["risk"]) == pytest.approx(risk_area(confidence, wrong, np.ones((1, 731)))[0])
