"""Which of several runs to keep: criteria, the Pareto front, and a utility learnt from answers about pairs.

The idea of asking a person to compare outcomes instead of weights is that of interactive multi-objective
tuning (2309.03581), which compares whole fronts with a ranking SVM; here single runs are compared, and the
weights of a linear utility have a posterior on a grid, so that the same answers always give the same run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Literal

import numpy as np
import numpy.typing as npt

from medpo_cli.errors import BadInputError
from medpo_cli.schema.records import Trial

Floats = npt.NDArray[np.float64]
Answer = Literal["first", "second", "equal"]

MEASURES: dict[str, tuple[tuple[str, ...], bool]] = {
    "accuracy": (("report.finding_accuracy", "closed.accuracy", "open.exact"), True),
    "hallucination": (("report.hallucination", "report.chair"), False),
    "grounding": (("report.specificity", "closed.specificity", "pair.reversal_lesion"), True),
    "drift": (("report.drift", "closed.drift", "open.drift"), False),
    "cost": (("seconds",), False),
}
"""Criterion -> measures that may stand for it (the first that every run has), and whether more is better."""
STEPS = 10
"""Weights are multiples of 1 / STEPS that sum to 1."""
SHARPNESS = 12.0
"""How surely the better of two runs is named, per unit of utility: a tenth apart, 77 in 100 times."""


@dataclass(frozen=True)
class Table:
    """Runs by criterion.

    Attributes:
        runs: names, sorted.
        criteria: criterion -> the measure that stands for it.
        values: float64 [runs, criteria] in the units of the records.
        merit: float64 [runs, criteria], 0 for the worst and 1 for the best run of the front.
        front: indices of the runs that no other run beats, in the order of ``runs``.
    """

    runs: tuple[str, ...]
    criteria: dict[str, str]
    values: Floats
    merit: Floats
    front: tuple[int, ...]


def tabulate(trials: Sequence[Trial]) -> Table:
    """Means over the seeds of each run, and the front.

    Raises:
        BadInputError: a seed of a run is there twice, or fewer than two criteria are known of every run.
    """
    runs: dict[str, dict[int, Mapping[str, float]]] = {}
    for trial in trials:
        own = runs.setdefault(trial.run, {})
        if trial.seed in own:
            raise BadInputError(f"seed {trial.seed} of run number {list(runs).index(trial.run) + 1} is there twice")
        cost = {} if trial.seconds is None else {"seconds": trial.seconds}
        own[trial.seed] = {**trial.metrics, **cost}
    rows = [own for seeds in runs.values() for own in seeds.values()]
    known = {name: _first(options, rows) for name, (options, _) in MEASURES.items()}
    criteria = {name: measure for name, measure in known.items() if measure}
    if len(criteria) < 2:
        raise BadInputError("fewer than two criteria are known of every run: there is nothing to weigh")
    names = tuple(sorted(runs))
    values = np.array(
        [[fmean(own[measure] for own in runs[run].values()) for measure in criteria.values()] for run in names]
    )
    better = values * np.array([1.0 if MEASURES[name][1] else -1.0 for name in criteria])
    front = _front(better)
    return Table(names, criteria, values, _merit(better, front), front)


def _first(options: Sequence[str], rows: Sequence[Mapping[str, float]]) -> str:
    return next((name for name in options if all(name in row for row in rows)), "")


def _front(better: Floats) -> tuple[int, ...]:
    """Runs that no other run equals or beats in everything while beating it in something."""
    beaten = [any((other >= own).all() and (other > own).any() for other in better) for own in better]
    return tuple(number for number, lost in enumerate(beaten) if not lost)


def _merit(better: Floats, front: Sequence[int]) -> Floats:
    low, high = better[list(front)].min(axis=0), better[list(front)].max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray((better - low) / span, dtype=np.float64)


class Preferences:
    """What pair answers say about the weights: a posterior on the grid of all weightings, uniform at first."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._grid = _simplex(len(table.criteria))
        self._utility = self._grid @ table.merit[list(table.front)].T  # [weightings, front]
        self._belief = np.full(len(self._grid), 1.0 / len(self._grid))
        self._asked: set[tuple[int, int]] = set()

    @property
    def weights(self) -> dict[str, float]:
        """Mean weight of each criterion; they sum to 1."""
        mean = self._belief @ self._grid
        return {name: float(value) for name, value in zip(self._table.criteria, mean, strict=True)}

    @property
    def chances(self) -> dict[int, float]:
        """For each run of the front how probable it is that it is the best."""
        best = self._utility.argmax(axis=1)
        return {run: float(self._belief[best == place].sum()) for place, run in enumerate(self._table.front)}

    def question(self) -> tuple[int, int] | None:
        """The pair of the front whose answer is expected to tell most; None when all were asked."""
        pairs = [pair for pair in combinations(range(len(self._table.front)), 2) if pair not in self._asked]
        if not pairs:
            return None
        first, second = max(pairs, key=lambda pair: round(self._told(pair), 12))
        return self._table.front[first], self._table.front[second]

    def answer(self, first: int, second: int, answer: Answer) -> None:
        """Learn which of two runs of the front is preferred."""
        a, b = self._table.front.index(first), self._table.front.index(second)
        wins = self._wins((a, b))
        tie = np.sqrt(wins * (1 - wins))  # Davidson's model of ties (1970), nu = 1
        likely = {"first": wins, "second": 1 - wins, "equal": tie}[answer] / (1 + tie)
        self._belief = self._belief * likely / float(self._belief @ likely)
        self._asked.add((min(a, b), max(a, b)))

    def _wins(self, pair: tuple[int, int]) -> Floats:
        gap = self._utility[:, pair[0]] - self._utility[:, pair[1]]
        return np.asarray(1.0 / (1.0 + np.exp(-SHARPNESS * gap)), dtype=np.float64)

    def _told(self, pair: tuple[int, int]) -> float:
        """Expected information of the answer, nats: its entropy less the entropy given the weights."""
        wins = self._wins(pair)
        return float(_entropy(self._belief @ wins) - self._belief @ _entropy(wins))


def _simplex(criteria: int) -> Floats:
    """All weightings in steps of 1 / STEPS, float64 [weightings, criteria]."""
    bars = combinations(range(STEPS + criteria - 1), criteria - 1)
    edges = [(-1, *chosen, STEPS + criteria - 1) for chosen in bars]
    return np.array([[b - a - 1 for a, b in pairwise(row)] for row in edges], np.float64) / STEPS


def _entropy(chance: Floats) -> Floats:
    inside = np.clip(chance, 1e-300, 1.0)
    outside = np.clip(1 - chance, 1e-300, 1.0)
    return np.asarray(-(chance * np.log(inside) + (1 - chance) * np.log(outside)), dtype=np.float64)


def recommend(table: Table, weights: Mapping[str, float], allowed: Sequence[int]) -> int:
    """The run of ``allowed`` with the largest utility; of equal ones the first by name."""
    row = np.array([weights.get(name, 0.0) for name in table.criteria])
    return max(allowed, key=lambda run: (round(float(table.merit[run] @ row), 12), -run))


def shown(criterion: str, value: float) -> str:
    """A value as people read it: all measures are shares, shown in per cent; cost is in seconds."""
    return f"{value:.0f} s" if criterion == "cost" else f"{100 * value:.1f} %"
