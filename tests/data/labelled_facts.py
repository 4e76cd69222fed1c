"""Reads and scores the hand-labelled sentences of ``tests/data/labelled``."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from medpo_cli.text.fact import ATTRIBUTES, Fact
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon

FOLDER = Path(__file__).parent / "labelled"
Label = tuple[str, str, str]


class Labelled(NamedTuple):
    """One sentence with what it states: (finding, "status", value) and (finding, attribute, value)."""

    domain: str
    text: str
    labels: frozenset[Label]


def read_half(name: str) -> Iterator[Labelled]:
    """The sentences of ``blind`` or ``tuned``."""
    domain = ""
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            domain = line[2:]
            continue
        text, _, stated = line.partition(" | ")
        yield Labelled(domain, text, frozenset(_labels(stated)))


def _labels(stated: str) -> Iterator[Label]:
    if stated.strip() == "-":
        return
    for one in stated.split(";"):
        finding, status, *attributes = one.split()
        yield finding, "status", status
        for attribute in attributes:
            name, _, value = attribute.partition("=")
            yield finding, name, value


def found_labels(facts: Iterable[Fact]) -> frozenset[Label]:
    """The labels of extracted facts; attributes of denied findings are left out."""
    labels: set[Label] = set()
    for fact in facts:
        labels.add((fact.finding, "status", fact.status))
        if fact.status == "absent":
            continue
        for name in ATTRIBUTES:
            value = getattr(fact, name)
            if value is not None:
                labels.add((fact.finding, name, f"{value:g}" if isinstance(value, float) else str(value)))
    return frozenset(labels)


class Score(NamedTuple):
    """Labels found rightly, and all that were expected or found."""

    right: int
    union: int

    @property
    def share(self) -> float:
        """Right of all."""
        return self.right / self.union


def score(half: str, lexicon: Lexicon) -> dict[str, Score]:
    """By domain and for ``all``."""
    counts: dict[str, list[int]] = {}
    for sentence in read_half(half):
        found = found_labels(extract(sentence.text, lexicon))
        for name in (sentence.domain, "all"):
            count = counts.setdefault(name, [0, 0])
            count[0] += len(found & sentence.labels)
            count[1] += len(found | sentence.labels)
    return {name: Score(*count) for name, count in counts.items()}


def mistakes(half: str, lexicon: Lexicon) -> Iterator[tuple[str, list[Label], list[Label]]]:
    """Sentences with labels that are missing or too many, for whoever tunes on ``tuned``."""
    for sentence in read_half(half):
        found = found_labels(extract(sentence.text, lexicon))
        if found != sentence.labels:
            yield sentence.text, sorted(sentence.labels - found), sorted(found - sentence.labels)
