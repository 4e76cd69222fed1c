"""Known errors put into true reports, with words of its own: nothing here comes from the editor or its lexicon."""

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from data.true_reports import SLOTS, Report, Slot, Statement, article

KINDS = ("polarity", "side", "location", "severity", "size", "number", "change", "hallucinated", "omitted")
ATTRIBUTE_KINDS = KINDS[1:7]
_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
DENIED: dict[str, list[str]] = _TABLE["denied"]
STATED: dict[str, dict[str, list[str]]] = _TABLE["stated"]
# Names of one thing: a report that speaks of one of them is not silent about the others.
_RELATED = [
    {"opacity", "consolidation", "pneumonia", "ground_glass_opacity", "atelectasis", "pulmonary_edema"},
    {"nodule", "mass", "granuloma"},
    {"brain_mass", "meningioma"},
    {"infarct", "restricted_diffusion"},
    {"hemorrhage", "subdural_hematoma"},
    {"ventricular_enlargement", "hydrocephalus"},
    {"renal_mass", "renal_cyst"},
    {"bowel_obstruction", "bowel_wall_thickening"},
]


@dataclass(frozen=True)
class Error:
    """One injected error: the sentence of the truth and what stands in its place ("" where there is none)."""

    kind: str
    finding: str
    true: str
    wrong: str


@dataclass(frozen=True)
class Wrong:
    """A report with known errors."""

    report: Report
    text: str
    errors: tuple[Error, ...]


def inject(report: Report, kinds: list[str], draw: random.Random) -> Wrong | None:
    """``report`` with one error of each kind, every one in another statement; None where a kind has no place."""
    said: dict[int, str] = dict(enumerate(statement.text for statement in report.statements))
    free = list(said)
    draw.shuffle(free)
    errors: list[Error] = []
    added: list[str] = []
    for kind in kinds:
        if kind == "hallucinated":
            error = _hallucinated(report, errors, draw)
            added += [error.wrong] if error else []
        else:
            place, error = _in_statement(report, free, kind, draw)
            if error is not None:
                free.remove(place)
                said[place] = error.wrong
        if error is None:
            return None
        errors.append(error)
    lines = [text for text in said.values() if text]
    for text in added:
        lines.insert(draw.randint(0, len(lines)), text)
    if len(lines) == len(added):
        return None
    return Wrong(report, report.layout[0] + report.layout[1].join(lines), tuple(errors))


def _in_statement(report: Report, free: list[int], kind: str, draw: random.Random) -> tuple[int, Error | None]:
    for place in free:
        statement = report.statements[place]
        text: str | None
        if kind == "omitted":
            text, finding = ("" if statement.status == "present" else None), statement.findings[0]
        elif kind == "polarity":
            text, finding = _opposite(statement, report.domain, draw)
        else:
            slots = [slot for slot in statement.slots if slot.attribute == kind]
            text, finding = (_swapped(statement, draw.choice(slots), draw) if slots else None), statement.findings[0]
        if text is not None:
            return place, Error(kind, finding, statement.text, text)
    return -1, None


def _swapped(statement: Statement, slot: Slot, draw: random.Random) -> str:
    """The statement with another word in ``slot``; a or an and capitals follow."""
    word = statement.text[slot.start : slot.end]
    if slot.attribute == "size":
        other = _resized(word, draw)
    else:
        other = draw.choice([other for other in SLOTS[slot.name][1] if other != word.lower()])
    text = article(statement.text[: slot.start] + other + statement.text[slot.end :])
    return text[0].upper() + text[1:]


def _resized(size: str, draw: random.Random) -> str:
    """Another first dimension, at least a third larger."""
    first = re.match(r"[\d.]+", size)
    assert first is not None
    value = float(first[0]) * draw.choice((1.5, 2.0, 3.0))
    return (f"{value:.1f}" if "." in first[0] else f"{value:.0f}") + size[first.end() :]


def _opposite(statement: Statement, domain: str, draw: random.Random) -> tuple[str | None, str]:
    finding = draw.choice(statement.findings)
    if statement.status == "uncertain" or "normal in caliber" in statement.text:
        return None, finding
    if statement.status == "present":
        options = DENIED.get(finding)
        return (draw.choice(options) if options else None), finding
    options = STATED[domain].get(finding)
    if options is None:
        return None, finding
    text = draw.choice(options)
    others = [DENIED[other][0] for other in statement.findings if other != finding and other in DENIED]
    if len(others) + 1 != len(statement.findings):
        return None, finding
    if others:
        names = " or ".join(re.sub(r"^No (.*)\.$", r"\1", other) for other in others)
        text = f"{text[:-1]}, but no {names}."
    return text, finding


def _hallucinated(report: Report, errors: list[Error], draw: random.Random) -> Error | None:
    """A sentence about something on which the truth is silent."""
    known = {finding for statement in report.statements for finding in statement.findings}
    known |= {error.finding for error in errors}
    known |= {finding for row in _RELATED if row & known for finding in row}
    options = sorted(set(STATED[report.domain]) - known)
    if not options:
        return None
    finding = draw.choice(options)
    return Error("hallucinated", finding, "", draw.choice(STATED[report.domain][finding]))
