"""Measures of a whole set that are no ratio of sums: calibration error, risk over coverage, area under ROC.

Every function takes weights ``[R, N]``, how often each of R draws holds each of N items (whole numbers), so that
the bootstrap recomputes them like any ratio. Equal values are ties: no result depends on the order of items.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medpo_cli.evaluation.statistics import Floats, divide

BINS = 10
"""Equal bins of probability, closed on the right, as in Guo et al. 2017 (ICML), equation 3."""


def bins_of(p: Floats) -> NDArray[np.int64]:
    """The bin of each probability: bin k holds ``k / 10 < p <= (k + 1) / 10``, the first one 0 too."""
    return np.searchsorted(np.arange(1, BINS) / BINS, p, side="left")


def calibration_error(p: Floats, truth: Floats, weights: Floats) -> Floats:
    """Expected calibration error of p(yes): mean over items of ``|mean p - share of yes|`` in their bin.

    Args:
        p: probabilities of yes [N].
        truth: 1 where yes is right, else 0 [N].
        weights: [R, N].

    Returns:
        [R]; NaN where a draw holds no item.
    """
    gaps = np.zeros((len(p), BINS))
    gaps[np.arange(len(p)), bins_of(p)] = p - truth
    return divide(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def risk_area(confidence: Floats, wrong: Floats, weights: Floats) -> Floats:
    """Area under risk over coverage: mean over k of the error rate among the k most confident items.

    Geifman, Uziel and El-Yaniv 2019 (ICLR), AURC. Errors among equally confident items count as spread evenly over
    them, which is the mean over all their orders.

    Args:
        confidence: [N].
        wrong: 1 where the choice is wrong, else 0 [N].
        weights: [R, N].

    Returns:
        [R]; NaN where a draw holds no item.
    """
    count, errors = _cumulated(confidence, weights), _cumulated(confidence, weights * wrong)
    width, more = np.diff(count, axis=1), np.diff(errors, axis=1)
    slope = np.where(width > 0, more / np.maximum(width, 1), 0.0)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(count.max(initial=0)) + 1))])
    reach = np.diff(harmonic[count.astype(np.int64)], axis=1)
    return divide((more + (errors[:, :-1] - count[:, :-1] * slope) * reach).sum(axis=1), count[:, -1])


def _cumulated(confidence: Floats, weights: Floats) -> Floats:
    """Weight of all items at least as confident as each distinct value, from high to low, 0 first; [R, values + 1]."""
    _, place = np.unique(-confidence, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    summed = np.add.reduceat(weights[:, order], starts, axis=1) if len(order) else np.zeros((len(weights), 0))
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(summed, axis=1)], axis=1)


def roc_area(values: Floats, positive: NDArray[np.bool_], strata: Sequence[str], weights: Floats) -> Floats:
    """Share of pairs (a positive, a negative of the same stratum) whose positive has the higher value; ties half.

    The Mann-Whitney statistic, which no common shift of the values moves, hence no yes-bias. Pairs lie within a
    stratum (a finding), and all pairs weigh alike.

    Args:
        values: [N].
        positive: bool [N].
        strata: N names.
        weights: [R, N].

    Returns:
        [R]; NaN where a draw holds no pair.
    """
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    names = np.array(strata, dtype=object)
    for name in dict.fromkeys(strata):
        own = names == name
        below = _cumulated(-values[own], weights[:, own] * ~positive[own])
        at = np.unique(values[own], return_inverse=True)[1]
        half = (below[:, at] + below[:, at + 1]) / 2
        above = weights[:, own] * positive[own]
        won += (above * half).sum(axis=1)
        pairs += above.sum(axis=1) * below[:, -1]
    return divide(won, pairs)


def all_right(right: NDArray[np.bool_], strata: Sequence[str], weights: Floats) -> Floats:
    """Share of strata (a pair of probes, an image) of which every item is right.

    Args:
        right: bool [N].
        strata: N names; all items of one stratum must have one weight, as those of one image have.
        weights: [R, N].

    Returns:
        [R]; NaN where a draw holds no item.
    """
    if not strata:
        return np.full(len(weights), np.nan)
    _, first, place = np.unique(np.array(strata), return_index=True, return_inverse=True)
    whole = (np.bincount(place, weights=~right) == 0).astype(np.float64)
    return divide(weights[:, first] @ whole, weights[:, first].sum(axis=1))


Columns = dict[str, list[float]]


def reliability(p: Floats, truth: Floats) -> Columns:
    """The diagram behind ``calibration_error``: of each bin that holds items its ends, mean p, share of yes, count."""
    place = bins_of(p)
    out: Columns = {"low": [], "high": [], "predicted": [], "observed": [], "n": []}
    for one in np.unique(place):
        own = place == one
        row = (one / BINS, (one + 1) / BINS, p[own].mean(), truth[own].mean(), own.sum())
        for column, value in zip(out.values(), row, strict=True):
            column.append(float(value))
    return out


def risk_curve(confidence: Floats, wrong: Floats, points: int = 100) -> Columns:
    """The curve behind ``risk_area`` at no more than ``points`` even steps of coverage.

    ``threshold`` is the confidence of the least confident item that is covered, ``risk`` the error rate of all that
    are; ties as there.
    """
    ones = np.ones((1, len(confidence)))
    count, errors = _cumulated(confidence, ones)[0], _cumulated(confidence, ones * wrong)[0]
    steps = np.unique(np.ceil(np.linspace(0, len(confidence), min(points, len(confidence)) + 1)[1:]))
    kept = np.interp(steps, count, errors)
    ranked = np.sort(confidence)[::-1]
    return {
        "coverage": (steps / len(confidence)).tolist(),
        "risk": (kept / steps).tolist(),
        "threshold": ranked[steps.astype(np.int64) - 1].tolist(),
    }
