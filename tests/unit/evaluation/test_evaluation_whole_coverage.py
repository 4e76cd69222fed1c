"""Do the intervals of measures of a whole set hold the truth? A simulation with clustered items."""

import numpy as np

from medpo_cli.evaluation.curves import calibration_error, risk_area, roc_area
from medpo_cli.evaluation.statistics import interval, times_drawn
from medpo_cli.evaluation.whole import chosen

GAINS = (0.0, 0.3)  # the second arm tells yes from no better
ROUNDS, RESAMPLES, GROUPS = 500, 500, 120


def world(generator: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Groups of 1 to 4 questions whose log-odds share an effect: group of each item, truth, log-odds of each arm."""
    items = generator.integers(1, 5, size=groups)
    codes = np.repeat(np.arange(groups), items)
    effect = np.repeat(generator.normal(0, 0.5, groups), items)
    truth = generator.random(len(codes)) < 0.5
    odds = [np.where(truth, 1 + gain, -1 - gain) + effect + generator.normal(0, 1.2, len(codes)) for gain in GAINS]
    return codes, truth, odds


def measured(odds: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under ROC, area under risk over coverage, calibration error [3, R] of an overconfident model."""
    p = 1 / (1 + np.exp(-1.5 * odds))
    areas = roc_area(odds, truth, ("",) * len(odds), weights), risk_area(*chosen(p, truth), weights)
    return np.stack([*areas, calibration_error(p, truth.astype(float), weights)])


def test_areas_hold_the_truth_in_95_of_100_and_a_calibration_error_does_not() -> None:
    _, truth, odds = world(np.random.default_rng(1), 100_000)
    true = [measured(one, truth, np.ones((1, len(one))))[:, 0] for one in odds]
    generator, held = np.random.default_rng(0), np.zeros((3, 3))
    for k in range(ROUNDS):
        codes, truth, odds = world(generator, GROUPS)
        parts = list(times_drawn(GROUPS, RESAMPLES, seed=k))
        first, second = (np.concatenate([measured(x, truth, times[:, codes]) for times in parts], axis=1) for x in odds)
        pairs = ((first, true[0]), (second, true[1]), (second - first, true[1] - true[0]))
        for arm, (draws, right) in enumerate(pairs):
            for measure in range(3):
                low, high = interval(draws[measure]) or (np.nan, np.nan)
                held[arm, measure] += low <= right[measure] <= high
    area, risk, calibration = (held / ROUNDS).T
    assert ((area >= 0.92) & (area <= 0.97)).all()
    assert ((risk >= 0.92) & (risk <= 0.97)).all()
    assert calibration[2] >= 0.92, "the difference of two calibration errors"
    assert (calibration[:2] < 0.1).all(), "why a calibration error is printed without an interval"
