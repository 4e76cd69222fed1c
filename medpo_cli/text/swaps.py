"""Swapping one attribute of a statement that is right: another side, place, grade, size, number."""

from collections.abc import Iterator
from typing import Literal

from medpo_cli.text.attributes import KINDS
from medpo_cli.text.comparison import Match
from medpo_cli.text.draw import Candidate, Draw
from medpo_cli.text.entries import Table
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.operations import Operation
from medpo_cli.text.style import in_case_of
from medpo_cli.text.truth import Question, Reading

_SWAPPED: tuple[Literal["side", "location", "severity", "change", "number", "margin", "texture"], ...] = (
    "side", "location", "severity", "change", "number", "margin", "texture",
)  # fmt: skip
_LARGE_MM = 30.0


def swaps(match: Match, answer: Reading, question: Question, lexicon: Lexicon, draw: Draw) -> Iterator[Candidate]:
    """Another value of each attribute of a finding that is present."""
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


def _swap(fact: Fact, truth: Fact, kind: str, name: str, place: Offsets, old: str, new: str) -> Candidate:
    operation = Operation(*place, old, new, KINDS[kind], fact.finding, f"rule:swap-{kind}", 1.0, truth.at[name])
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
