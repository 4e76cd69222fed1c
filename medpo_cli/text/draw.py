"""Choosing among candidates: repeatable draws, and an even share of the kinds of error."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medpo_cli.text.operations import Operation

_FIRST = 40
# part of the cap for answers that allow other edits; the rest is kept for those that allow nothing else
_UNFORCED = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make the answer wrong.

    Attributes:
        bucket: the kind that is kept in balance.
        operations: what to replace.
        fact: key of the statement that becomes wrong; None for a bare answer.
    """

    bucket: str
    operations: tuple[Operation, ...]
    fact: tuple[object, ...] | None = None


class Draw:
    """Choices that depend on the seed and the place only, so that every run repeats them."""

    def __init__(self, *key: object) -> None:
        self.key = "\0".join(map(str, key))

    def number(self, *place: object) -> int:
        """A 64-bit number for a place."""
        text = "\0".join((self.key, *map(str, place)))
        return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")

    def one(self, options: Sequence[str], *place: object) -> str | None:
        """One of the options; None if there are none."""
        return options[self.number(*place) % len(options)] if options else None


class Balance:
    """Counts counterfactuals by kind and by finding; the rarest kind goes first.

    Args:
        cap: largest share of normality edits.
    """

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self.buckets: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str | None]] = Counter()

    def order(self, candidates: Iterable[Candidate], draw: Draw) -> list[Candidate]:
        """Candidates from rarest to most frequent; normality edits above the cap are left out."""
        allowed = [candidate for candidate in candidates if not self._over_cap(candidate)]
        return sorted(allowed, key=lambda candidate: self._rank(candidate, draw))

    def _rank(self, candidate: Candidate, draw: Draw) -> tuple[int, int, int]:
        first = candidate.operations[0]
        found = self.findings[candidate.bucket, first.label]
        used = self.buckets[candidate.bucket]
        if _is_normality(candidate):
            used = self.buckets.total() if self._over_cap(candidate, _UNFORCED) else self._normality()
        return used, found, draw.number(candidate.bucket, first.label, first.start)

    def _over_cap(self, candidate: Candidate, part: float = 1.0) -> bool:
        """The share is taken of at least ``_FIRST`` pairs, so that the first answers are not refused."""
        allowed = part * self.cap * max(self.buckets.total() + 1, _FIRST)
        return _is_normality(candidate) and self._normality() + 1 > allowed

    def _normality(self) -> int:
        return sum(count for bucket, count in self.buckets.items() if bucket.startswith("normality"))

    def count(self, candidate: Candidate) -> None:
        """Remember that the candidate was used."""
        self.buckets[candidate.bucket] += 1
        self.findings[candidate.bucket, candidate.operations[0].label] += 1


def _is_normality(candidate: Candidate) -> bool:
    return candidate.bucket.startswith("normality")
