"""Making a right answer wrong in one thing: the candidates, and an even choice among kinds of error."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from medpo_cli.schema.records import SpanKind
from medpo_cli.text.comparison import Comparison, Match
from medpo_cli.text.edits import flip_answer
from medpo_cli.text.entries import Table
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.operations import Operation
from medpo_cli.text.scribe import statement_kind
from medpo_cli.text.style import Style, in_case_of, is_label_file, state, style_of
from medpo_cli.text.truth import Question, Reading

_SWAPPED: tuple[Literal["side", "location", "severity", "change"], ...] = ("side", "location", "severity", "change")
_LARGE_MM = 30.0
_FIRST = 40


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
        used = self._normality() if _is_normality(candidate) else self.buckets[candidate.bucket]
        return used, found, draw.number(candidate.bucket, first.label, first.start)

    def _over_cap(self, candidate: Candidate) -> bool:
        """The share is taken of at least ``_FIRST`` pairs, so that the first answers are not refused."""
        return _is_normality(candidate) and self._normality() + 1 > self.cap * max(self.buckets.total() + 1, _FIRST)

    def _normality(self) -> int:
        return sum(count for bucket, count in self.buckets.items() if bucket.startswith("normality"))

    def count(self, candidate: Candidate) -> None:
        """Remember that the candidate was used."""
        self.buckets[candidate.bucket] += 1
        self.findings[candidate.bucket, candidate.operations[0].label] += 1


def _is_normality(candidate: Candidate) -> bool:
    return candidate.bucket.startswith("normality")


def candidates(
    answer: Reading, truth: Reading, question: Question, comparison: Comparison, lexicon: Lexicon, draw: Draw
) -> list[Candidate]:
    """Every way the rules know to make one confirmed statement of the answer wrong."""
    if answer.bare:
        return list(_bare(answer, truth, question, lexicon, draw))
    found: list[Candidate] = []
    label = is_label_file(answer.text, lexicon)
    for match in comparison.right:
        fact = match.said
        if fact is None or fact.status == "uncertain" or match.truth is None:
            continue
        found.extend(_swaps(match, answer, question, lexicon, draw))
        found.extend(_status(match, answer, question, lexicon, draw, label))
    if not found and answer.said is not None and answer.said == truth.said and not answer.facts:
        found.append(Candidate("answer", tuple(flip_answer(answer.text, None, "rule:swap-answer", None))))
    return found


def _swaps(match: Match, answer: Reading, question: Question, lexicon: Lexicon, draw: Draw) -> Iterator[Candidate]:
    """Another side, location, severity, change or size for a finding that is present."""
    fact, truth = match.said, match.truth
    if fact is None or truth is None or fact.status != "present":
        return
    for name in _SWAPPED:
        if name in fact.at and name in truth.at and not (name == "side" and _side_is_fixed(fact, answer, question)):
            start, end = fact.at[name]
            word = answer.text[start:end]
            table: Table = getattr(lexicon.swaps, name)
            other = draw.one(table.get(word.lower(), []), name, fact.finding, start)
            if other is not None and not _impossible(fact, answer.text, (start, end), other, lexicon):
                yield _swap(fact, truth, name, name, (start, end), word, in_case_of(word, other))
    if fact.size_mm is not None and truth.size_mm is not None:
        start, end = fact.at["size_mm"]
        quote = answer.text[start:end]
        yield _swap(fact, truth, "size", "size_mm", (start, end), quote, _resized(quote, fact.size_mm))


def _swap(fact: Fact, truth: Fact, kind: SpanKind, name: str, place: Offsets, old: str, new: str) -> Candidate:
    operation = Operation(*place, old, new, kind, fact.finding, f"rule:swap-{kind}", 1.0, truth.at[name])
    return Candidate(kind, (operation,), fact.key)


def _impossible(fact: Fact, text: str, place: Offsets, word: str, lexicon: Lexicon) -> bool:
    """True if the sentence with the new word names what no body has ("left middle lobe")."""
    sentence = f"{text[fact.sentence[0] : place[0]]}{word}{text[place[1] : fact.sentence[1]]}".lower()
    return any(phrase in sentence for phrase in lexicon.cues.impossible)


def _side_is_fixed(fact: Fact, answer: Reading, question: Question) -> bool:
    """The question asks about this side, or the answer already speaks of the other one."""
    if any(other.side for other in question.facts):
        return True
    return any(other.finding == fact.finding and other is not fact for other in answer.facts)


def _status(
    match: Match, answer: Reading, question: Question, lexicon: Lexicon, draw: Draw, label: bool
) -> Iterator[Candidate]:
    """Deny what is present, or make up what is absent; a list of denials is split for it."""
    fact, truth = match.said, match.truth
    if fact is None or truth is None:
        return
    group = [other for other in answer.facts if other.sentence == fact.sentence]
    quote = answer.text[slice(*fact.sentence)]
    style = style_of(quote, fact, label=label)
    repeated = any(other.finding == fact.finding and other is not fact for other in answer.facts)
    if style == "definite" or (repeated and style != "fronted"):
        return
    if len(group) > 1 and (style not in ("sentence", "label") or any(other.status != "absent" for other in group)):
        return
    parts = [
        _opposite(other, style, question, lexicon, draw) if other is fact else _denied(other, style, lexicon)
        for other in group
    ]
    text = " ".join(parts) if quote[-1:] in ".!?" else " ".join(parts).removesuffix(".")
    kind = statement_kind(match, quote)
    bucket = f"{kind}-{'drop' if fact.status == 'present' else 'add'}"
    operation = Operation(
        *fact.sentence, quote, text, kind, fact.finding, f"rule:swap-{bucket}", 1.0 if len(group) == 1 else 0.9,
        truth.sentence,
    )  # fmt: skip
    yield Candidate(bucket, (operation,), fact.key)


def _denied(fact: Fact, style: Style, lexicon: Lexicon) -> str:
    return state(fact.finding, "absent", style, lexicon, side=fact.side)


def _opposite(fact: Fact, style: Style, question: Question, lexicon: Lexicon, draw: Draw) -> str:
    """A denial for a presence; for an absence a made-up finding with attributes drawn by seed."""
    if fact.status == "present":
        return state(
            fact.finding, "absent", style, lexicon, side=fact.side if style == "fronted" or _sided(question) else None
        )
    entry = lexicon.findings[fact.finding]
    place = (fact.finding, fact.sentence[0])
    side = fact.side or (draw.one(("left", "right"), "side", *place) if entry.sides else None)
    located = not (style == "answer" and _sided(question))
    return state(
        fact.finding, "present", style, lexicon, side=side,
        location=draw.one(entry.locations, "location", *place) if located else None,
        severity=draw.one(entry.severities, "severity", *place),
    )  # fmt: skip


def _sided(question: Question) -> bool:
    return any(fact.side for fact in question.facts)


def _bare(answer: Reading, truth: Reading, question: Question, lexicon: Lexicon, draw: Draw) -> Iterator[Candidate]:
    """The other of yes and no, or another member of the closed set."""
    label = question.asked[0] if len(question.asked) == 1 else None
    whole = (0, len(truth.text))
    if answer.said is not None:
        yield Candidate("answer", tuple(flip_answer(answer.text, label, "rule:swap-answer", whole)))
        return
    for name, member in answer.members.items():
        if name in truth.members:
            others = [value for value in lexicon.closed_sets[name] if value not in (member.value, "both")]
            other = draw.one(others, "member", name)
            if other is not None:
                old = answer.text[member.start : member.end]
                right = truth.members[name]
                yield Candidate("answer", (
                    Operation(
                        member.start, member.end, old, in_case_of(old, other), "answer", label, "rule:swap-answer",
                        1.0, (right.start, right.end),
                    ),
                ))  # fmt: skip


def _resized(quote: str, size_mm: float) -> str:
    """The measurement with every number doubled, or halved where it is large already."""
    factor = 0.5 if size_mm >= _LARGE_MM else 2.0
    parts: list[str] = []
    number = ""
    for mark in f"{quote}\0":
        if mark.isdigit() or (mark == "." and number):
            number += mark
            continue
        if number:
            parts.append(f"{float(number) * factor:.{len(number.partition('.')[2])}f}")
            number = ""
        parts.append(mark)
    return "".join(parts)[:-1]
