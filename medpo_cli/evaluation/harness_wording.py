"""BLEU and ROUGE-L of reports as MedEvalKit counts them (profiles ``medevalkit`` and ``medevalkit-asreported``).

BLEU is nltk's of one sentence without smoothing, averaged over reports; only full stops are split off. ROUGE-L is that
of the package rouge 1.0.1: sets of words, unions over sentences, upper case and commas kept. Its harness also leaves
empty answers out of the sum but not out of the number it divides by; here they score 0, which is the same mean.
"""

import math
from collections.abc import Sequence

from medpo_cli.evaluation.ngrams import ORDERS, grams

_LIBRARY_EPSILON = 1e-8


def split_stops(text: str) -> list[str]:
    """Words with full stops as words of their own."""
    return text.replace(".", " . ").split()


def sentence_bleu(said: Sequence[str], truth: Sequence[str]) -> list[float]:
    """BLEU-1 to BLEU-4 of one text without smoothing: 0 from the first order on that shares no n-gram."""
    if not said:
        return [0.0] * ORDERS
    brevity = min(0.0, 1 - len(truth) / len(said))
    out, logs = [], 0.0
    for order in range(1, ORDERS + 1):
        ours = grams(said, order)
        shared = (ours & grams(truth, order)).total()
        logs = logs + math.log(shared / ours.total()) if shared else -math.inf
        out.append(math.exp(brevity + logs / order))
    return out


def union_rouge_l(said: str, truth: str) -> float:
    """F of ROUGE-L over sentences as rouge 1.0.1: each reference sentence's words in any common subsequence, once."""
    ours, theirs = _sentences(said), _sentences(truth)
    if not ours or not theirs:
        return 0.0
    met: set[str] = set()
    for sentence in theirs:
        for other in ours:
            met |= _common(sentence, other)
    precision = len(met) / len({word for sentence in ours for word in sentence})
    recall = len(met) / len({word for sentence in theirs for word in sentence})
    return 2 * precision * recall / (precision + recall + _LIBRARY_EPSILON)


def _sentences(text: str) -> list[list[str]]:
    return [one.split() for one in text.split(".") if one.split()]


def _common(a: Sequence[str], b: Sequence[str]) -> set[str]:
    """The words of one longest common subsequence; of several, the one that the library walks back along."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, word in enumerate(a, start=1):
        for j, other in enumerate(b, start=1):
            longer = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if word == other else longer
    found, i, j = set(), len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            found.add(a[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found
