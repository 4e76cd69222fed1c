"""How far the words of reports overlap with those of their references: BLEU and ROUGE-L.

They know nothing of what a report means: two clinical errors in three sentences leave BLEU-4 at .54 and ROUGE-L at
.76 (a test says so). They are here to be compared with papers, never to decide.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from medpo_cli.evaluation.statistics import Floats, divide
from medpo_cli.schema.records import Score

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDER = 4
PARTS = (*(f"match{n}" for n in range(1, ORDER + 1)), *(f"ngrams{n}" for n in range(1, ORDER + 1)), "said", "truth")
"""What BLEU of many reports is made of: n-grams found in the reference, n-grams, words said, words of the reference."""
_WORDS = re.compile("[a-z0-9]+")


def overlap_counts(answer: str, reference: str) -> dict[str, float]:
    """``report.bleu_PART`` for each of ``PARTS``, and ``report.rouge_l``; nothing for an empty reference.

    BLEU counts are sacrebleu's (13a tokens, case kept). ROUGE-L is the F1 of the longest common subsequence of
    lower-case words and numbers, as rouge-score computes it without stemming.
    """
    if not reference.strip():
        return {}
    found = _bleu().sentence_score(answer, [reference])
    parts = dict(zip(PARTS, (*found.counts, *found.totals, found.sys_len, found.ref_len), strict=True))
    counts = {f"report.bleu_{name}": float(value) for name, value in parts.items()}
    return counts | {"report.rouge_l": rouge_l(answer, reference), "report.texts": 1.0}


@cache
def _bleu() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU  # a quarter of a second, for reports only

    return BLEU(max_ngram_order=ORDER, effective_order=True)


def signature() -> str:
    """What makes BLEU numbers comparable."""
    from importlib.metadata import version

    return f"sacrebleu {version('sacrebleu')}, 13a, case kept, exp"


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, beta 1); 0 where either text has no word."""
    said, truth = _WORDS.findall(answer.lower()), _WORDS.findall(reference.lower())
    common = _common(said, truth)
    return 2 * common / (len(said) + len(truth)) if common else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        corner = 0
        for place, other in enumerate(b, start=1):
            corner, row[place] = row[place], corner + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def bleu_entries(score: Score) -> list[tuple[float, bool, str]]:
    """What a report brings to BLEU: each part as (count, nothing, name)."""
    if "report.bleu_said" not in score.metrics:
        return []
    return [(score.metrics[f"report.bleu_{name}"], False, name) for name in PARTS]


def bleu(counts: Floats, names: Sequence[str], weights: Floats, order: int) -> Floats:
    """Corpus BLEU (Papineni et al. 2002) as a share, in each draw.

    Args:
        counts: of all reports [N].
        names: which of ``PARTS`` each count is.
        weights: how often each draw holds each count [R, N].
        order: longest n-gram, 1 to 4; all orders weigh alike.

    Returns:
        [R]; NaN where a draw holds no report. Orders without a match are smoothed as sacrebleu does ("exp"): the
        k-th of them counts for 1 / 2^k of a match.
    """
    which = np.array(names)
    sums = {name: weights[:, which == name] @ counts[which == name] for name in PARTS}
    logs, missed = np.zeros(len(weights)), np.zeros(len(weights))
    found = sum(sums[f"match{n}"] for n in range(1, order + 1)) > 0
    for n in range(1, order + 1):
        match, total = sums[f"match{n}"], sums[f"ngrams{n}"]
        missed += match == 0
        with np.errstate(divide="ignore"):
            logs += np.log(divide(np.where(match == 0, 0.5**missed, match), total))
    with np.errstate(divide="ignore", over="ignore"):
        brevity = np.minimum(0.0, 1 - divide(sums["truth"], sums["said"]))
    # Nothing said, nothing found, or no n-gram of that order in anything said: no overlap.
    value = np.where(found, np.nan_to_num(np.exp(logs / order + brevity), nan=0.0), 0.0)
    return np.where(sums["truth"] > 0, value, np.nan)
