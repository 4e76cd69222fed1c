"""Intervals and tests for measures that are ratios of sums over items.

Every measure is ``sum(numerator) / sum(denominator)`` over items, so that shares of statements, of
findings and of answers are treated alike. Items of one image or patient are not independent: the
bootstrap draws whole groups. All arms share each draw, which makes the difference paired.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS_AT_ONCE = 256  # part of the random stream: another value gives other draws


@dataclass(frozen=True)
class Sums:
    """Numerators and denominators of one arm, summed per group: two float64 arrays [groups, measures]."""

    numerator: Floats
    denominator: Floats

    @property
    def value(self) -> Floats:
        """The measures [measures]; NaN where nothing was counted."""
        return divide(self.numerator.sum(axis=0), self.denominator.sum(axis=0))


def group_codes(groups: Sequence[str]) -> NDArray[np.int64]:
    """Number the distinct groups in order of first appearance; int64 [items]."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def group_sums(numerator: Floats, denominator: Floats, codes: NDArray[np.int64]) -> Sums:
    """Sum [items, measures] over the items of each group.

    An item whose denominator is 0 is not counted by that measure, so its numerator must be 0 too.
    """
    groups = int(codes.max()) + 1 if codes.size else 0
    summed = []
    for values in (numerator, denominator):
        out = np.zeros((groups, values.shape[1]))
        np.add.at(out, codes, values)
        summed.append(out)
    return Sums(summed[0], summed[1])


def bootstrap(arms: Sequence[Sums], resamples: int, seed: int) -> Floats:
    """Draw groups with replacement and recompute every measure of every arm.

    Args:
        arms: sums over the same groups in the same order.
        resamples: number of draws R.
        seed: of numpy's PCG64; equal input and seed give equal draws.

    Returns:
        float64 [arms, R, measures]; NaN where a draw holds nothing to count.
    """
    groups, measures = arms[0].numerator.shape
    columns = np.concatenate([np.concatenate([arm.numerator, arm.denominator], axis=1) for arm in arms], axis=1)
    totals = np.concatenate([times @ columns for times in times_drawn(groups, resamples, seed)])
    split = totals.reshape(resamples, len(arms), 2, measures)
    return np.moveaxis(divide(split[:, :, 0], split[:, :, 1]), 1, 0)


def times_drawn(groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each group occurs in each draw: parts float64 [draws, groups], rows sum to ``groups``.

    Equal arguments give equal draws, so that all that is measured under them stays paired.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        draws = min(_DRAWS_AT_ONCE, resamples - start)
        picked = generator.integers(0, groups, size=(draws, groups))
        flat = picked + groups * np.arange(draws)[:, None]
        yield np.bincount(flat.ravel(), minlength=draws * groups).reshape(draws, groups).astype(np.float64)


def over_seeds(draws: Floats, generator: np.random.Generator) -> Floats:
    """Second level of the bootstrap: in each draw, the mean over seeds that were drawn with replacement.

    Seeds and items are crossed (every run answers the same items), so both levels are drawn
    independently and all runs of a draw share its groups.

    Args:
        draws: float64 [seeds, R, measures] of ``bootstrap``, one run a seed.
        generator: draws the seeds; with one seed nothing is drawn and the draws come back as they are.

    Returns:
        float64 [R, measures]; NaN where one of the drawn runs has nothing to count.
    """
    seeds, resamples, _ = draws.shape
    if seeds == 1:
        alone: Floats = draws[0]
        return alone
    picked = generator.integers(0, seeds, size=(seeds, resamples))
    mean: Floats = draws[picked, np.arange(resamples)].mean(axis=0)
    return mean


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for testing several measures (Holm 1979): step down, monotone, at most 1.

    The k-th smallest of m is multiplied by m - k + 1; a larger p never gets a smaller adjusted one.
    """
    order = sorted(range(len(p)), key=lambda place: p[place])
    out, floor = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        floor = max(floor, min(1.0, (len(p) - rank) * p[place]))
        out[place] = floor
    return out


def interval(draws: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of draws [R]; None if over half of them have nothing to count."""
    finite = draws[np.isfinite(draws)]
    if finite.size * 2 < draws.size or finite.size == 0:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def never_seen(groups: int, level: float = 0.95) -> float:
    """Largest share that is still compatible with no event in ``groups`` independent groups.

    The exact (Clopper-Pearson) upper end 1 - ((1 - level) / 2)^(1 / groups). A bootstrap of equal
    values has no spread and would claim certainty.
    """
    return float(1 - ((1 - level) / 2) ** (1 / groups))


def sign_share(differences: Floats) -> float | None:
    """Two-sided p of "no difference": twice the smaller share of draws on one side of zero.

    One is added to count and total, so p is never 0 (Davison and Hinkley 1997, section 4.2).
    """
    finite = differences[np.isfinite(differences)]
    if finite.size == 0:
        return None
    smaller = min(int((finite <= 0).sum()), int((finite >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (finite.size + 1))


def mcnemar_exact(fixed: int, broken: int) -> float:
    """Two-sided exact McNemar p: 2 P(X <= min(fixed, broken)), X binomial(fixed + broken, 1/2).

    Only for one run against one run on independent items.
    """
    changed = fixed + broken
    ways, tail = 1, 0
    for k in range(min(fixed, broken) + 1):
        tail += ways
        ways = ways * (changed - k) // (k + 1)
    shift = max(0, tail.bit_length() - 64)  # whole numbers of any size; only the ratio must fit a float
    return min(1.0, math.ldexp(float(tail >> shift), shift + 1 - changed))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise ratio; NaN where the denominator is 0."""
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out
