"""ROUGE-1, ROUGE-2 and CIDEr of reports; BLEU and ROUGE-L are in evaluation.overlap.

None of it sees a clinical error. CIDEr is written here because the package that has it (pycocoevalcap) brings a
tokenizer in Java and 100 MB.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

_WORD = re.compile(r"[a-z0-9]+")
_SIGMA = 6.0
ORDERS = 4
"""Longest n-grams that count."""

Gram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Lower-case runs of the letters a-z and digits, as the package rouge-score splits (without its stemmer)."""
    return _WORD.findall(text.lower())


def grams(tokens: Sequence[str], order: int) -> Counter[Gram]:
    """How often each n-gram of one order occurs."""
    return Counter(zip(*(tokens[k:] for k in range(order)), strict=False))


def f1(shared: float, said: float, expected: float) -> float:
    """2 PR / (P + R); 0 where nothing is shared."""
    return 2 * shared / (said + expected) if shared else 0.0


def rouge_n(said: Sequence[str], truth: Sequence[str], order: int) -> float:
    """F1 over the multisets of n-grams (Lin 2004; as rouge-score)."""
    ours, theirs = grams(said, order), grams(truth, order)
    return f1((ours & theirs).total(), ours.total(), theirs.total())


def cider(answers: Sequence[Sequence[str]], truths: Sequence[str], alone: Sequence[str]) -> list[float]:
    """CIDEr of each report as the COCO caption code computes it, 0 to 10.

    That is CIDEr-D (Vedantam 2015) with one reference: cosines of tf-idf n-grams clipped at the reference, damped
    by the difference in length (sigma 6), mean over n = 1 to 4, times 10. Words are those of ``words``, not of the
    Penn Treebank tokenizer in Java.

    Args:
        answers: of each report, its answers; their mean counts.
        truths: of each report, its reference.
        alone: the references of the whole set; how many hold an n-gram gives its weight. One alone has no weights: 0.
    """
    held: Counter[Gram] = Counter()
    for truth in alone:
        held.update(gram for order in _orders(truth) for gram in order)
    weight = _Weights(held, len(alone))
    out = []
    for texts, truth in zip(answers, truths, strict=True):
        against = weight.vectors(truth)
        out.append(sum(weight.closeness(weight.vectors(text), against) for text in texts) / len(texts))
    return out


def _orders(text: str) -> list[Counter[Gram]]:
    tokens = words(text)
    return [grams(tokens, order) for order in range(1, ORDERS + 1)]


_Vectors = tuple[list[dict[Gram, float]], int]


class _Weights:
    """Inverse document frequencies of a set of references."""

    def __init__(self, held: Mapping[Gram, int], texts: int) -> None:
        self._held, self._log = held, math.log(texts)

    def vectors(self, text: str) -> _Vectors:
        """Of each order the n-grams' weights; and the number of bigrams, COCO's length of a text."""
        orders = _orders(text)
        return [
            {gram: often * (self._log - math.log(max(1, self._held.get(gram, 0)))) for gram, often in order.items()}
            for order in orders
        ], orders[1].total()

    def closeness(self, ours: _Vectors, theirs: _Vectors) -> float:
        """Ten times the mean of the clipped and damped cosines."""
        damped = math.exp(-((ours[1] - theirs[1]) ** 2) / (2 * _SIGMA**2))
        return 10 * damped * sum(_cosines(ours[0], theirs[0])) / ORDERS


def _cosines(ours: list[dict[Gram, float]], theirs: list[dict[Gram, float]]) -> Iterator[float]:
    for a, b in zip(ours, theirs, strict=True):
        lengths = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
        clipped = sum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b)
        yield clipped / lengths if lengths else 0.0
