"""What a file of pairs would teach: the statistics of the method's own table, and pairs that look wrong.

Structure was proven when the pairs were read; here is what structure cannot say: that a pair means the
same in other words, that one side is much longer, that an edit covers everything, that pairs repeat.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from medpo_cli.schema.records import Pair
from medpo_cli.text.comparison import meaning
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import tokens, word_count

WITHIN = 2
LONG_GAP = 0.25
COVERED = 0.8
SHORT = 4

WARNINGS = {
    "same-meaning": "the lexicon reads the same on both sides: other words, not other facts",
    "covers-all": "the spans cover nearly the whole answer: no minimal edit",
    "length-gap": "the sides differ in length by more than a quarter and two words: length is learnt",
    "one-side-empty": "a span has no word on one side",
    "style": "spans change only capitals, marks or spacing",
    "duplicate": "an earlier pair has the same prompt, image and texts",
    "other-way-round": "an earlier pair prefers the other side of the same texts",
}
"""Codes and what they mean."""


@dataclass
class Lint:
    """Counts over a stream of pairs; memory grows by 16 bytes a pair and side (hashes of what was seen).

    Attributes:
        pairs: how many were taken in.
        warnings: pairs by code.
    """

    lexicon: Lexicon
    pairs: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    _sums: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)

    def take(self, pair: Pair) -> list[str]:
        """Count one pair; returns the codes of its warnings."""
        self.pairs += 1
        self._measure(pair)
        found = [code for code, holds in self._judge(pair).items() if holds]
        self.warnings.update(found)
        return found

    def _measure(self, pair: Pair) -> None:
        ours, theirs = ([token.word for token in tokens(text)] for text in (pair.chosen, pair.rejected))
        gap = abs(word_count(pair.chosen) - word_count(pair.rejected))
        self._sums.update(
            {
                "chosen_words": word_count(pair.chosen),
                "rejected_words": word_count(pair.rejected),
                "gap": gap,
                "within": int(gap <= WITHIN),
                "distance": edit_distance(ours, theirs),
                "spans": len(pair.spans),
                "masked": sum(word_count(pair.chosen[slice(*span.chosen)]) for span in pair.spans),
                "corrected": int(pair.origin == "corrected"),
                "corrupted": int(pair.corrupted is not None),
            }
        )

    def _judge(self, pair: Pair) -> dict[str, bool]:
        ours, theirs = word_count(pair.chosen), word_count(pair.rejected)
        sides = [(pair.chosen[slice(*span.chosen)], pair.rejected[slice(*span.rejected)]) for span in pair.spans]
        covered = sum(word_count(chosen) for chosen, _ in sides) / max(ours, 1)
        facts = [meaning(extract(text, self.lexicon)) for text in (pair.chosen, pair.rejected)]
        key, turned = _hash(pair, pair.chosen, pair.rejected), _hash(pair, pair.rejected, pair.chosen)
        found = {
            "same-meaning": bool(facts[0]) and facts[0] == facts[1],
            "covers-all": covered > COVERED and ours > SHORT,
            "length-gap": abs(ours - theirs) > max(WITHIN, LONG_GAP * min(ours, theirs)),
            "one-side-empty": any(not word_count(chosen) or not word_count(rejected) for chosen, rejected in sides),
            "style": all(_letters(chosen) == _letters(rejected) for chosen, rejected in sides),
            "duplicate": key in self._seen,
            "other-way-round": turned in self._seen,
        }
        self._seen.add(key)
        return found

    def statistics(self) -> dict[str, float]:
        """Means over the pairs, as FiRe-MPO's own table has them; empty without pairs."""
        if not self.pairs:
            return {}
        names = {
            "chosen_words": "words in chosen", "rejected_words": "words in rejected",
            "gap": "absolute difference in words", "within": "share within two words",
            "distance": "words inserted, deleted or replaced", "spans": "spans a pair",
            "corrected": "share corrected", "corrupted": "share with a corrupted image",
        }  # fmt: skip
        found = {text: self._sums[key] / self.pairs for key, text in names.items()}
        found["share of chosen words in spans"] = self._sums["masked"] / max(self._sums["chosen_words"], 1)
        return found


def edit_distance(a: list[str], b: list[str]) -> int:
    """Least number of words inserted, deleted or replaced."""
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
    return row[-1]


def _hash(pair: Pair, chosen: str, rejected: str) -> bytes:
    image = pair.images[0]
    parts = (image.sha256 or image.path, str(image.frame), pair.prompt, chosen, rejected)
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _letters(text: str) -> str:
    return "".join(mark for mark in text.lower() if mark.isalnum())
