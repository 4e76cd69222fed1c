"""Measures of a whole set: what each score brings to them, their values, their draws, the curves behind them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medpo_cli.evaluation.curves import all_right, calibration_error, reliability, risk_area, risk_curve, roc_area
from medpo_cli.evaluation.measures import Whole
from medpo_cli.evaluation.overlap import PARTS, bleu, bleu_entries
from medpo_cli.evaluation.statistics import Floats, times_drawn
from medpo_cli.evaluation.verdicts import agreement_entries, kappa
from medpo_cli.schema.records import Score

Entry = tuple[float, bool, str]
"""A value, whether it is a positive (yes is right; the lesion is there), and its stratum (the finding).

Of agreement: how much of a cell, whether the rules say right, what the judge says. Of BLEU: see ``overlap``.
"""
Seen = Literal["lesion", "twin"]


def entries(score: Score, measure: Whole) -> list[Entry]:
    """What a score brings: p(yes) with the truth, or log-odds of yes about a finding with and without its lesion."""
    about = (score.ext or {}).get("about")
    if measure.only and not (isinstance(about, dict) and about.get(measure.only[0]) == measure.only[1]):
        return []
    if measure.statistic in ("ece", "aurc"):
        p = score.metrics.get("closed.p_yes")
        return [] if p is None else [(p, score.metrics["closed.true_yes"] > 0, "")]
    if measure.statistic in ("pair", "image"):
        probe = (score.ext or {}).get("probe")
        right = score.metrics.get("closed.right", 0.0) >= 1
        return [(float(right), right, str(probe[measure.statistic]))] if isinstance(probe, dict) else []
    if measure.statistic == "kappa":
        return agreement_entries(score, measure.kind)
    if measure.statistic == "bleu":
        return bleu_entries(score)
    odds = (score.ext or {}).get("odds")
    if not isinstance(odds, dict):
        return []
    finding, there = str(odds["finding"]), odds["truth"] == "yes"
    if measure.against == "":
        return [(float(odds["intact"]), there, finding)]
    if measure.against not in odds:
        return []
    return [(float(odds["intact"]), True, finding), (float(odds[measure.against]), False, finding)]


@dataclass(frozen=True)
class Entries:
    """All that one run brings to one measure; ``item`` is the number of the score that each entry is from."""

    measure: Whole
    values: Floats
    positive: np.ndarray
    strata: tuple[str, ...]
    item: np.ndarray

    def measured(self, weights: Floats) -> Floats:
        """The measure in each draw [R]; ``weights`` [R, entries] counts how often the draw holds each entry."""
        truth = self.positive.astype(np.float64)
        match self.measure.statistic:
            case "ece":
                return calibration_error(self.values, truth, weights)
            case "aurc":
                return risk_area(*chosen(self.values, self.positive), weights)
            case "pair" | "image":
                return all_right(self.positive, self.strata, weights)
            case "kappa":
                return kappa(self.values, self.positive, self.strata, weights)
            case "bleu":
                return bleu(self.values, self.strata, weights, self.measure.order)
            case _:
                return roc_area(self.values, self.positive, self.strata, weights)

    @property
    def counted(self) -> float:
        """Entries; pairs or images of probes; of an area under ROC its positives with a negative in their stratum."""
        if self.measure.statistic in ("pair", "image"):
            return float(len(set(self.strata)))
        if self.measure.statistic == "kappa":
            return float(self.values.sum())
        if self.measure.statistic == "bleu":
            return len(self.values) / len(PARTS)
        if self.measure.statistic != "auc":
            return float(len(self.values))
        negatives = {name for name, one in zip(self.strata, self.positive, strict=True) if not one}
        return float(sum(one and name in negatives for name, one in zip(self.strata, self.positive, strict=True)))


def chosen(p: Floats, truth: np.ndarray) -> tuple[Floats, Floats]:
    """Confidence max(p, 1 - p) of the likelier of yes and no, and 1 where it is wrong (a tie is no)."""
    return np.maximum(p, 1 - p), ((p > 0.5) != truth).astype(np.float64)


def collect(scores: Sequence[Score], measure: Whole) -> Entries:
    """The entries of a run, in the order of its scores; half a pair of probes, whose other half is missing, is none."""
    found = [(k, entry) for k, score in enumerate(scores) for entry in entries(score, measure)]
    if measure.statistic == "pair":
        halves = Counter(name for _, (_, _, name) in found)
        found = [(k, entry) for k, entry in found if halves[entry[2]] > 1]
    return Entries(
        measure,
        np.array([value for _, (value, _, _) in found], dtype=np.float64),
        np.array([positive for _, (_, positive, _) in found], dtype=bool),
        tuple(name for _, (_, _, name) in found),
        np.array([k for k, _ in found], dtype=np.int64),
    )


def drawn(tables: Sequence[Entries], codes: np.ndarray, resamples: int, seed: int) -> Floats:
    """Each table's measure under the groups that ``bootstrap`` draws too; [tables, R]."""
    groups = int(codes.max()) + 1
    parts = [
        np.stack([table.measured(times[:, codes[table.item]]) for table in tables])
        for times in times_drawn(groups, resamples, seed)
    ]
    return np.concatenate(parts, axis=1)


def curves(tables: Sequence[Entries]) -> dict[str, dict[str, list[float]]]:
    """Columns to plot: ``closed.reliability`` and ``closed.risk_coverage``, where p(yes) was measured."""
    table = next((one for one in tables if one.measure.statistic == "ece"), None)
    if table is None or not len(table.values):
        return {}
    return {
        "closed.reliability": reliability(table.values, table.positive.astype(np.float64)),
        "closed.risk_coverage": risk_curve(*chosen(table.values, table.positive)),
    }
