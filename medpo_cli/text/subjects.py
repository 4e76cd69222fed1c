"""Statements through a subject: "the heart is enlarged", "normal heart size", "elevation of the hemidiaphragm"."""

from typing import NamedTuple

from medpo_cli.text.entries import Normality
from medpo_cli.text.fact import Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.scan import Item
from medpo_cli.text.words import tokens

_REACH = 80
_BETWEEN = frozenset("the of and or , both a in size for configuration contour visualized visualised".split())
_VERBS = frozenset({"is", "are"})


class Stated(NamedTuple):
    """A subject joined with its predicate, whose offsets are ``predicate``; cues may stand from ``cue_from``."""

    findings: tuple[str, ...]
    abnormal: bool
    start: int
    end: int
    cue_from: int
    predicate: Offsets


def statements(text: str, items: list[Item], lexicon: Lexicon) -> list[Stated]:
    """Every subject with the predicate that fits it: directly before it, else the nearest one after it."""
    found: list[Stated] = []
    predicates = [item for item in items if item.part == "predicate"]
    if not predicates:
        return found
    for subject in items:
        if subject.part == "subject":
            entry = lexicon.normality[int(subject.value)]
            before = _before(text, subject, items, predicates, entry, lexicon)
            item = before or _after(subject, items, entry)
            if item is not None:
                found.append(
                    Stated(
                        tuple(entry.findings), item.value in entry.abnormal, min(subject.start, item.start),
                        max(subject.end, item.end), 0 if item is before else subject.end, (item.start, item.end),
                    )
                )  # fmt: skip
    return found


def _after(subject: Item, items: list[Item], entry: Normality) -> Item | None:
    """The next predicate that fits; a subject behind another's predicate begins a new statement."""
    later = [item for item in items if item.start >= subject.end]
    passed = False
    for item in later:
        if item.part == "breakers" or item.start - subject.end > _REACH:
            return None
        if item.part == "finding" and any(other.part == "predicate" for other in later):
            if not _is_predicate(item, later):
                return None
        elif item.part == "predicate":
            if item.value in entry.normal or item.value in entry.abnormal:
                return item
            passed = True
        elif item.part == "subject" and passed:
            return None
    return None


def _is_predicate(item: Item, items: list[Item]) -> bool:
    return any(other.part == "predicate" and other[2:] == item[2:] for other in items)


def _before(
    text: str, subject: Item, items: list[Item], predicates: list[Item], entry: Normality, lexicon: Lexicon
) -> Item | None:
    """A predicate before the subject, parted from it by its attributes and other subjects only.

    "Normal heart and mediastinum"; but in "normal lungs, heart is enlarged" the heart has its own verb.
    """
    for item in reversed(predicates):
        if item.end <= subject.start and (item.value in entry.normal or item.value in entry.abnormal):
            others = [other for other in items if other.part == "subject" and item.end <= other.start < subject.start]
            between = _without(text, item.end, subject.start, others)
            words = [token.word for token in tokens(between)]
            if not all(word in _BETWEEN or word in lexicon.passed for word in words):
                return None
            return None if words and _has_verb(text, subject) else item
    return None


def _without(text: str, start: int, end: int, others: list[Item]) -> str:
    """The text between, other subjects cut out."""
    parts = []
    for other in others:
        if other.start >= start:
            parts.append(text[start : other.start])
            start = other.end
    return " ".join([*parts, text[start:end]])


def _has_verb(text: str, subject: Item) -> bool:
    words = text[subject.end :].split(maxsplit=1)
    return bool(words) and words[0].lower() in _VERBS
