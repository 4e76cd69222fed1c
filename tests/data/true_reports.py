"""Synthetic true reports: statements with the facts and the words that an injector can change."""

import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NUMBERS = {"cxr": 50, "ct": 25, "brain": 20, "abdomen": 25}
TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
_STATUS = {"+": "present", "-": "absent", "?": "uncertain"}
_GRADES = ["mild", "moderate", "severe"]
# slot -> attribute, its words
SLOTS: dict[str, tuple[str, list[str]]] = {
    "side": ("side", ["left", "right"]),
    "lobe": ("location", ["upper", "lower"]),
    "region": ("location", ["frontal", "parietal", "temporal", "occipital"]),
    "seg": ("location", ["2", "3", "4", "5", "6", "7", "8"]),
    "pole": ("location", ["upper", "lower"]),
    "part": ("location", ["head", "body", "tail"]),
    "amount": ("severity", ["small", "moderate", "large"]),
    "grade": ("severity", _GRADES),
    "gradely": ("severity", [f"{grade}ly" for grade in _GRADES]),
    "mm": ("size", [f"{size} mm" for size in (4, 5, 6, 7, 8, 9, 11, 12, 14, 18)]),
    "cm": ("size", [f"{size / 10} cm" for size in (11, 13, 16, 18, 23, 28, 34, 42)]),
    "wide": ("size", ["4.2 cm", "4.6 cm", "5.1 cm", "5.8 cm"]),
    "cmx": ("size", ["2.3 x 1.8 cm", "3.1 x 2.6 cm", "1.9 x 1.4 cm", "4.2 x 3.7 cm", "2.8 x 2.2 x 1.9 cm"]),
    "num": ("number", ["two", "three", "four", "multiple"]),
    "chg": ("change", ["unchanged", "increased", "decreased"]),
    "past": ("change", ["increased", "decreased"]),
    "incr": ("change", ["increase", "decrease"]),
    "adj": ("change", ["new", "stable", "worsening"]),
}
_LUNGS_CLEAR = re.compile(r"lungs are clear")
_IN_LUNGS = {"nodule", "consolidation", "atelectasis", "pulmonary_edema"}
# Who denies the first denies the second.
_INCLUDED = [
    ("opacity", "consolidation"),
    ("ventricular_enlargement", "hydrocephalus"),
    ("hemorrhage", "subdural_hematoma"),
    ("brain_mass", "meningioma"),
]


@dataclass(frozen=True)
class Slot:
    """A word of a statement that carries one attribute."""

    name: str
    start: int
    end: int

    @property
    def attribute(self) -> str:
        return SLOTS[self.name][0]


@dataclass(frozen=True)
class Statement:
    """One sentence of a report: what it states (all findings with one status) and its slots."""

    text: str
    findings: tuple[str, ...]
    status: str
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Report:
    """A report; ``layout`` is what stands before it and between its statements."""

    id: str
    domain: str
    statements: tuple[Statement, ...]
    layout: tuple[str, str] = ("", " ")

    @property
    def text(self) -> str:
        return self.layout[0] + self.layout[1].join(statement.text for statement in self.statements)


def article(text: str) -> str:
    """``text`` with "a" and "an" as the next word asks, also where render has marked that word."""
    pattern = r"\b([Aa])(?:\(n\)|n)? (?=(?:\x00\w+\x01)?(8|11\b|18\b|[aeiou])?)"
    return re.sub(pattern, lambda found: f"{found[1]}{'n' if found[2] else ''} ", text)


def render(template: str, findings: tuple[str, ...], draw: random.Random) -> Statement:
    """A statement of ``template`` with drawn words."""
    mark, body = template[0], template[2:]
    words = {}

    def fill(found: re.Match[str]) -> str:
        name = found[1].lower()
        words[name] = draw.choice(SLOTS[name][1])
        return f"\0{name}\1{words[name]}\0"

    marked = article(re.sub(r"\{(\w+)\}", fill, body))
    slots, text = [], ""
    for index, part in enumerate(marked.split("\0")):
        if index % 2:
            name, word = part.split("\1")
            slots.append(Slot(name, len(text), len(text) + len(word)))
            text += word
        else:
            text += part
    return Statement(text[0].upper() + text[1:], findings, _STATUS[mark], tuple(slots))


def reports(seed: int = 0) -> list[Report]:
    """The 120 reports, 3-8 statements each, no finding twice; the same for the same seed."""
    return [
        _report(f"{domain}-{number:03}", domain, random.Random(f"{seed} {domain} {number}"))
        for domain, count in NUMBERS.items()
        for number in range(count)
    ]


def _report(name: str, domain: str, draw: random.Random) -> Report:
    wanted = draw.randint(3, 8)
    keys = list(TABLE[domain])
    draw.shuffle(keys)
    statements: list[Statement] = []
    for key in keys:
        findings = tuple(key.split())
        said = {finding for statement in statements for finding in statement.findings}
        if len(statements) < wanted and not said & set(findings):
            made = render(draw.choice(TABLE[domain][key]), findings, draw)
            if _consistent([*statements, made]):
                statements.append(made)
    layout = draw.choices([("", " "), ("FINDINGS: ", " "), ("", "\n")], [8, 1, 1])[0]
    return Report(name, domain, tuple(statements), layout)


def _consistent(statements: list[Statement]) -> bool:
    present = {name for statement in statements if statement.status != "absent" for name in statement.findings}
    absent = {name for statement in statements if statement.status == "absent" for name in statement.findings}
    clear = any(_LUNGS_CLEAR.search(statement.text) for statement in statements)
    denied = any(general in absent and special in present for general, special in _INCLUDED)
    return not denied and not (clear and present & _IN_LUNGS)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a report by full stops and white space, without a heading."""
    yield from re.split(r"(?<=\.)\s+", re.sub(r"^[A-Z]+: ", "", text).strip())
