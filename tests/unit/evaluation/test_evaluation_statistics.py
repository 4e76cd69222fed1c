"""Intervals and tests, against loops, hand arithmetic and a simulation."""

from itertools import combinations

import numpy as np
import pytest

from medpo_cli.evaluation.statistics import (
    Sums,
    bootstrap,
    group_codes,
    group_sums,
    holm,
    interval,
    mcnemar_exact,
    never_seen,
    over_seeds,
    sign_share,
)


@pytest.mark.parametrize(
    ("fixed", "broken", "expected"),
    [
        (10, 2, 0.038574),  # 2 (1 + 12 + 66) / 2**12
        (25, 12, 0.047031),
        (0, 6, 0.03125),  # 2 / 2**6
        (6, 0, 0.03125),
        (0, 0, 1.0),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_vectors(fixed: int, broken: int, expected: float) -> None:
    assert mcnemar_exact(fixed, broken) == pytest.approx(expected, abs=5e-7)


def test_mcnemar_of_thousands_does_not_overflow() -> None:
    # normal approximation with continuity: z = (|b - c| - 1) / sqrt(b + c) = 199 / sqrt(4000) = 3.1464 -> p = .00165
    assert mcnemar_exact(1900, 2100) == pytest.approx(0.00165, abs=2e-5)
    assert mcnemar_exact(2100, 1900) == mcnemar_exact(1900, 2100)


def test_group_codes_number_groups_by_first_appearance() -> None:
    assert group_codes(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


def test_group_sums_and_value_by_hand() -> None:
    numerator = np.array([[1.0], [0.0], [3.0]])
    denominator = np.array([[2.0], [0.0], [4.0]])
    sums = group_sums(numerator, denominator, group_codes(["x", "y", "x"]))
    assert sums.numerator.tolist() == [[4.0], [0.0]]
    assert sums.value.tolist() == [4 / 6]


def test_value_is_nan_where_nothing_is_counted() -> None:
    assert np.isnan(Sums(np.zeros((3, 1)), np.zeros((3, 1))).value).all()


def _looped_bootstrap(arms: list[Sums], resamples: int, seed: int) -> np.ndarray:
    """The same draws, one group at a time."""
    generator = np.random.default_rng(seed)
    groups, measures = arms[0].numerator.shape
    out = np.full((len(arms), resamples, measures), np.nan)
    picked = np.concatenate(
        [generator.integers(0, groups, size=(min(256, resamples - k), groups)) for k in range(0, resamples, 256)]
    )
    for draw in range(resamples):
        for a, arm in enumerate(arms):
            for m in range(measures):
                top = sum(arm.numerator[g, m] for g in picked[draw])
                bottom = sum(arm.denominator[g, m] for g in picked[draw])
                out[a, draw, m] = top / bottom if bottom else np.nan
    return out


def _random_arms(seed: int = 0, groups: int = 7) -> list[Sums]:
    generator = np.random.default_rng(seed)
    denominator = generator.integers(0, 4, size=(groups, 2)).astype(float)
    return [Sums(np.minimum(denominator, generator.integers(0, 4, (groups, 2))), denominator) for _ in range(2)]


def test_bootstrap_equals_the_loop() -> None:
    arms = _random_arms()
    np.testing.assert_allclose(bootstrap(arms, 300, seed=3), _looped_bootstrap(arms, 300, seed=3), rtol=1e-12)


def test_bootstrap_is_deterministic_per_seed() -> None:
    arms = _random_arms()
    first = bootstrap(arms, 1000, seed=5)
    assert first.tobytes() == bootstrap(arms, 1000, seed=5).tobytes()
    assert first.tobytes() != bootstrap(arms, 1000, seed=6).tobytes()


def test_arms_share_draws_so_equal_arms_never_differ() -> None:
    arm = _random_arms()[0]
    draws = bootstrap([arm, arm], 500, seed=0)
    assert np.nanmax(np.abs(draws[0] - draws[1])) == 0


def test_interval_of_known_quantiles() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_interval_is_none_when_most_draws_are_empty() -> None:
    assert interval(np.array([np.nan, np.nan, 1.0])) is None


def test_never_seen_is_the_exact_bound() -> None:
    for groups in (1, 10, 300):
        assert (1 - never_seen(groups)) ** groups == pytest.approx(0.025)
    assert never_seen(300) == pytest.approx(0.0122, abs=5e-5)  # 3.69 / 300, the rule of three at 97.5 %


def test_sign_share_counts_the_smaller_side() -> None:
    # 9 draws above 0, 1 below: 2 (1 + 1) / (10 + 1)
    assert sign_share(np.array([1.0] * 9 + [-1.0])) == pytest.approx(4 / 11)
    assert sign_share(np.zeros(10)) == 1.0
    assert sign_share(np.ones(99)) == pytest.approx(2 / 100)
    assert sign_share(np.array([np.nan])) is None


def _clustered_arms(generator: np.random.Generator, groups: int) -> list[Sums]:
    """Items of a group share a random effect; the second arm is right .08 more often."""
    items = generator.integers(1, 6, size=groups)
    effect = generator.normal(0, 0.15, size=groups)
    arms = []
    for gain in (0.0, 0.08):
        chance = np.clip(0.7 + gain + effect, 0, 1)
        arms.append(Sums(generator.binomial(items, chance)[:, None].astype(float), items[:, None].astype(float)))
    return arms


def _true_gain() -> float:
    effect = np.random.default_rng(99).normal(0, 0.15, size=2_000_000)
    return float((np.clip(0.78 + effect, 0, 1) - np.clip(0.70 + effect, 0, 1)).mean())


def test_interval_covers_the_truth_in_95_of_100_simulations() -> None:
    generator = np.random.default_rng(1)
    truth, rounds = _true_gain(), 1000
    covered = 0
    for k in range(rounds):
        draws = bootstrap(_clustered_arms(generator, groups=120), 500, seed=k)
        low, high = interval((draws[1] - draws[0])[:, 0]) or (np.nan, np.nan)
        covered += low <= truth <= high
    assert 0.93 <= covered / rounds <= 0.97


def test_ignoring_groups_would_be_overconfident() -> None:
    """Five identical answers per image are one piece of evidence: the interval must not shrink."""
    right = np.random.default_rng(2).integers(0, 2, size=40).astype(float)
    clustered = Sums(right[:, None] * 5, np.full((40, 1), 5.0))
    single = Sums(right[:, None], np.ones((40, 1)))
    np.testing.assert_array_equal(bootstrap([clustered], 400, seed=0), bootstrap([single], 400, seed=0))


def test_over_seeds_is_the_mean_of_drawn_runs() -> None:
    draws = np.random.default_rng(3).normal(size=(3, 50, 2))
    picked = np.random.default_rng(7).integers(0, 3, size=(3, 50))
    expected = [[sum(draws[picked[s, r], r, m] for s in range(3)) / 3 for m in range(2)] for r in range(50)]
    np.testing.assert_allclose(over_seeds(draws, np.random.default_rng(7)), expected)


def test_over_one_seed_draws_nothing() -> None:
    generator = np.random.default_rng(7)
    draws = np.ones((1, 5, 2))
    assert over_seeds(draws, generator) is not None
    assert generator.integers(1000) == np.random.default_rng(7).integers(1000)


def test_interval_over_seeds_covers_the_truth() -> None:
    """Eight training seeds with a spread of their own, 80 groups that all seeds answer."""
    generator, rounds, covered = np.random.default_rng(5), 400, 0
    for k in range(rounds):
        chance = np.clip(0.7 + generator.normal(0, 0.1, size=80), 0, 1)
        runs = []
        for luck in generator.normal(0, 0.03, size=8):
            right = generator.binomial(5, np.clip(chance + luck, 0, 1))
            runs.append(Sums(right[:, None].astype(float), np.full((80, 1), 5.0)))
        low, high = interval(over_seeds(bootstrap(runs, 400, seed=k), np.random.default_rng(k))[:, 0]) or (1, 0)
        covered += low <= 0.7 <= high
    assert 0.92 <= covered / rounds <= 0.98


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x .01; 2 x .03; max(.06, 1 x .04)
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert holm(p) == pytest.approx(adjusted)


def test_holm_rejects_what_the_closed_test_of_bonferroni_rejects() -> None:
    """Brute force over all intersections: adjusted p = the largest Bonferroni p of a set that holds the measure."""
    generator = np.random.default_rng(11)
    for _ in range(50):
        p = list(generator.uniform(0, 0.5, size=4))
        sets = [subset for size in range(1, 5) for subset in combinations(range(4), size)]
        slow = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if k in s) for k in range(4)]
        assert holm(p) == pytest.approx(slow)
