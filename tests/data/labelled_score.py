"""The hand-labelled sentences and the share of their labels that an extractor gets right."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "labelled"
DOMAINS = ("cxr", "ct", "brain", "abdomen")
ATTRIBUTES = ("side", "location", "severity", "size_mm", "number", "texture", "margin", "change", "organ")
_NOT_OF_ABSENT = ("number", "texture", "margin")
Label = tuple[str, ...]

# The labels use the words that are said; the lexicon has fewer values. Both are compared in the lexicon's.
SAME = {
    "severity": {"trace": "small", "mild": "small", "severe": "large"},
    "change": {"unchanged": "stable", "increased": "worse", "decreased": "better"},
    "location": {
        "apical": "apex",
        "basal": "lower",
        "lingula": "middle",
        "hilar": "hilum",
        "perihilar": "hilum",
        "cerebellar": "cerebellum",
        "pons": "brainstem",
        "head": "pancreatic_head",
        "body": "pancreatic_body",
        "tail": "pancreatic_tail",
        "mid": "middle",
    },
}


@dataclass
class Score:
    """Labels that both name (``right``) of all that either names (``union``)."""

    right: Counter[str] = field(default_factory=Counter)
    union: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str, list[Label], list[Label]]] = field(default_factory=list)

    def share(self, domain: str = "all") -> float:
        """Right labels of the union; 1 where there is no label."""
        return self.right[domain] / self.union[domain] if self.union[domain] else 1.0

    def __str__(self) -> str:
        parts = (*DOMAINS, "all")
        return ", ".join(f"{part} {self.right[part]}/{self.union[part]} = {self.share(part):.1%}" for part in parts)


def rows(half: Literal["tuned", "blind"]) -> list[dict[str, Any]]:
    """Sentences of one half: ``id``, ``domain``, ``text``, ``facts``."""
    return [json.loads(line) for line in (FOLDER / f"{half}.jsonl").read_text().splitlines()]


def labels(facts: Iterable[Any]) -> tuple[set[Label], set[Label]]:
    """(finding, status) and (finding, status, attribute, value) of facts: mappings, or objects with attributes."""
    statements: set[Label] = set()
    details: set[Label] = set()
    for fact in facts:
        get = fact.get if isinstance(fact, dict) else lambda name, fact=fact: getattr(fact, name, None)
        head = (_finding(get("finding")), get("status"))
        statements.add(head)
        for name in ATTRIBUTES:
            value = get(name)
            if value is not None and _scored(head[1], name, value):
                details.add((*head, name, f"{value:.1f}" if name == "size_mm" else _value(name, str(value))))
    return statements, details


def score(half: Literal["tuned", "blind"], extract: Callable[[str], Iterable[Any]]) -> dict[str, Score]:
    """Scores of an extractor: ``statements``, ``attributes``, and ``labels`` (both together).

    ``wrong`` lists id, text, missing and surplus labels. Never print it for the blind half.
    """
    scores: dict[str, Score] = defaultdict(Score)
    for row in rows(half):
        wanted, got = labels(row["facts"]), labels(extract(row["text"]))
        pairs = {"statements": (wanted[0], got[0]), "attributes": (wanted[1], got[1])}
        pairs["labels"] = (wanted[0] | wanted[1], got[0] | got[1])
        for kind, (truth, found) in pairs.items():
            for domain in (row["domain"], "all"):
                scores[kind].right[domain] += len(truth & found)
                scores[kind].union[domain] += len(truth | found)
            if truth != found and half == "tuned":
                scores[kind].wrong.append((row["id"], row["text"], sorted(truth - found), sorted(found - truth)))
    return scores


def _finding(finding: str) -> str:
    """Free air in the abdomen has one id in the lexicon, whatever the domain."""
    return {"free_air": "pneumoperitoneum"}.get(finding, finding)


def _value(name: str, value: str) -> str:
    """The lexicon's value for a labelled one."""
    value = SAME.get(name, {}).get(value, value)
    return value.replace("-", "_").replace(" ", "_")


def _scored(status: str, name: str, value: object) -> bool:
    """Kind and course of what is not there are no statement, except that it has gone."""
    if status != "absent":
        return True
    return name not in (*_NOT_OF_ABSENT, "change")
