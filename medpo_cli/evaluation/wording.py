"""Further wording of reports (``medpo eval --wording``): counts of a score, and the measures made of them.

A score then holds in ``ext.texts`` the reference and the answers: CIDEr weighs n-grams by all references, which are
known at the end only. Under the profiles of MedEvalKit that harness's BLEU and ROUGE-L are added under their own names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medpo_cli.evaluation.harness_wording import sentence_bleu, split_stops, union_rouge_l
from medpo_cli.evaluation.measures import WORDING, Whole
from medpo_cli.evaluation.ngrams import cider, rouge_n, words
from medpo_cli.evaluation.statistics import Floats, divide
from medpo_cli.evaluation.whole import Entries
from medpo_cli.schema.records import Score

HARNESS = ("medevalkit", "medevalkit-asreported")
"""Profiles with a wording of their own."""
TEXTS = "texts"
"""Key of a score's ``ext`` under which the reference and the answers are."""


def signatures(profile: str) -> dict[str, str]:
    """Which definition each measure of wording has, by a short name."""
    told = {
        "cider": "CIDEr-D as in the COCO caption code, words a-z 0-9, weights by this set's references, medpo/1",
        "rouge_1, rouge_2": "as rouge-score without stemmer, medpo/1",
    }
    if profile not in HARNESS:
        return told
    return told | {
        "sentence_bleu": "nltk's without smoothing, full stops split off, mean over reports, medpo/1",
        "union_rouge_l": "as rouge 1.0.1, medpo/1",
    }


def wording_counts(answer: str, reference: str, profile: str) -> dict[str, float]:
    """Counts of one answer; an empty one shares nothing and is counted as empty.

    Args:
        answer: the report.
        reference: not empty.
        profile: name of a profile.
    """
    said, truth = words(answer), words(reference)
    counts = {
        "wording_items": 1.0,
        "empty": float(not answer.strip()),
        "rouge_1": rouge_n(said, truth, 1),
        "rouge_2": rouge_n(said, truth, 2),
    }
    if profile in HARNESS:
        told = sentence_bleu(split_stops(answer), split_stops(reference))
        counts |= {f"sentence_bleu_{n}": value for n, value in enumerate(told, start=1)}
        counts |= {"sentence_items": 1.0, "union_rouge_l": union_rouge_l(answer, reference)}
    return {f"report.{name}": value for name, value in counts.items()}


@dataclass(frozen=True)
class Rows(Entries):
    """A measure of a whole set that is made of several numbers a report: ``values`` is [reports, k]."""

    def measured(self, weights: Floats) -> Floats:
        """Macro F1 of the summed rows, or the mean of the first column; [R]."""
        summed = weights @ self.values
        if self.measure.statistic == "macro":
            return macro_f1(summed) if len(self.values) else np.full(len(weights), np.nan)
        return divide(summed[:, 0], summed[:, 1])

    @property
    def counted(self) -> float:
        """Reports."""
        return float(len(self.values))


def macro_f1(counts: Floats) -> Floats:
    """Mean over labels of F1 = 2 shared / both, from rows [R, 2 x labels]: shared of each label, then both.

    A label that neither side has counts 0, as in scikit-learn.
    """
    shared, both = np.split(counts, 2, axis=1)
    mean: Floats = np.nan_to_num(divide(2 * shared, both)).mean(axis=1)
    return mean


def wholes(scores: Sequence[Score]) -> tuple[Whole, ...]:
    """The measures of a whole set that the scores hold the texts for."""
    return WORDING if any(map(_texts, scores)) else ()


def cider_rows(scores: Sequence[Score], measure: Whole) -> Rows:
    """CIDEr of each report that has texts, and 1, in the order of the scores."""
    places = [k for k, score in enumerate(scores) if _texts(score)]
    texts = [_texts(scores[k]) for k in places]
    truths = [str(one["reference"]) for one in texts]
    values = [[value, 1.0] for value in cider([one["answers"] for one in texts], truths, truths)] if texts else []
    return made(measure, places, values, 2)


def made(measure: Whole, places: Sequence[int], values: Sequence[Sequence[float]], columns: int) -> Rows:
    """Rows [len(places), columns] of the scores at ``places``."""
    table = np.array(values, dtype=np.float64).reshape(len(places), columns)
    return Rows(measure, table, np.zeros(len(places), dtype=bool), (), np.array(places, dtype=np.int64))


def _texts(score: Score) -> dict[str, Any]:
    found = (score.ext or {}).get(TEXTS, {})
    return found if isinstance(found, dict) else {}
