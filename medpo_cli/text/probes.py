"""Paired yes/no questions from the facts of a report: what is there, against what the report rules out.

The truth of a probe comes from the report's own words. A finding is there where it is stated for certain; it is absent
where all of it is denied ("No pneumothorax.", "The lungs are clear."), never because nobody mentions it. What is
doubtful, contradictory or denied in part ("No right effusion.", "No new nodule.") is asked in neither way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from medpo_cli.text.draw import Draw
from medpo_cli.text.entries import Finding, Table
from medpo_cli.text.fact import Fact
from medpo_cli.text.facts import contradictory
from medpo_cli.text.lexicon import Lexicon

SIDES = {"left": "right", "right": "left"}
PLAIN_TEXTURES = (None, "focal")
"""A denial with one of these denies the finding: "no focal opacity" is "no opacity"."""
RESERVED = frozenset(
    ("new", "significant", "suspicious", "gross", "grossly", "overt", "obvious", "convincing", "definite", "discrete")
)
"""Words inside a denial ("no new", "no significant") that leave room for the finding."""


@dataclass(frozen=True)
class Settled:
    """Findings of a report: those that are there, in order, those that are ruled out, and all that it names."""

    present: tuple[str, ...]
    absent: frozenset[str]
    named: frozenset[str]


@dataclass(frozen=True)
class Probe:
    """Two questions of one pair, the first to be answered yes and the second no.

    ``kind`` is finding, side, location or severity; ``finding`` what the first is about, ``other`` the second.
    """

    kind: str
    finding: str
    other: str
    true: str
    adversarial: str


def settled(text: str, facts: Sequence[Fact], lexicon: Lexicon) -> Settled:
    """What a report settles; words that only mean something beside an organ ("lesion") settle nothing.

    Args:
        text: the report.
        facts: what ``extract`` found in it.
        lexicon: the clinical words.
    """
    known = [fact for fact in facts if not lexicon.findings[fact.finding].generic]
    unclear = set(contradictory(known))
    by_finding: dict[str, list[Fact]] = {}
    for fact in known:
        by_finding.setdefault(fact.finding, []).append(fact)
    clear = {finding: own for finding, own in by_finding.items() if finding not in unclear}
    return Settled(
        tuple(finding for finding, own in clear.items() if any(fact.status == "present" for fact in own)),
        frozenset(finding for finding, own in clear.items() if _denied(own, text)),
        frozenset(by_finding),
    )


def _denied(facts: Sequence[Fact], text: str) -> bool:
    """Whether nothing but denials is said, and one of them without any restriction."""
    return all(fact.status == "absent" for fact in facts) and any(_unrestricted(fact, text) for fact in facts)


def _unrestricted(fact: Fact, text: str) -> bool:
    start, end = fact.at.get("status", (0, 0))
    if not RESERVED.isdisjoint(text[start:end].lower().split()):
        return False
    limits = (fact.location, fact.severity, fact.size_mm, fact.change, fact.number, fact.margin)
    return fact.side in (None, "both") and not any(limits) and fact.texture in PLAIN_TEXTURES


def existence(finding: str, other: str, lexicon: Lexicon) -> Probe:
    """Is the finding there, and is the other one?"""
    true, adversarial = (f"Is there {_called(lexicon.findings[one])} in this image?" for one in (finding, other))
    return Probe("finding", finding, other, true, adversarial)


def _called(entry: Finding) -> str:
    """A finding's name with its article, if its own statements use one ("The heart is enlarged." does not)."""
    spoken = [statement.present for statement in entry.statements.values()]
    if not entry.article or (spoken and not any("{a}" in text or " a " in text for text in spoken)):
        return entry.name
    return f"{'an' if entry.name[0].lower() in 'aeiou' else 'a'} {entry.name}"


def attributes(finding: str, facts: Sequence[Fact], lexicon: Lexicon, draw: Draw) -> list[Probe]:
    """Questions about side, location and severity of a finding that is there, against another value each.

    Asked only where every statement of the finding gives the attribute, and all give the same.

    Args:
        finding: one of ``Settled.present``.
        facts: of the report.
        lexicon: says which values a finding can have.
        draw: chooses among several other values.
    """
    entry = lexicon.findings[finding]
    own = [fact for fact in facts if fact.finding == finding and fact.status == "present"]
    made = []
    side = _agreed([fact.side for fact in own])
    if side in SIDES:
        made.append(_about(finding, entry.name, "side", f"on the {side}", f"on the {SIDES[side]}"))
    location = _agreed([fact.location for fact in own])
    where = _choice(location, entry.locations, lexicon.attributes.location, draw, finding, "location")
    if where:
        made.append(_about(finding, entry.name, "location", *(f"in the {value} {_part(value)}" for value in where)))
    severity = _agreed([fact.severity for fact in own])
    degree = _choice(severity, entry.severities, lexicon.attributes.severity, draw, finding, "severity")
    if degree:
        made.append(_about(finding, entry.name, "severity", *degree))
    return made


def _part(value: str) -> str:
    """What follows a location; lobes would be wrong, for there is no left middle lobe."""
    return "zone" if value in ("upper", "middle", "lower") else "region"


def _about(finding: str, name: str, kind: str, true: str, adversarial: str) -> Probe:
    return Probe(kind, finding, finding, f"Is the {name} {true}?", f"Is the {name} {adversarial}?")


def _agreed(values: Sequence[str | None]) -> str | None:
    """The value that all give."""
    return values[0] if values and len(set(values)) == 1 else None


def _choice(stated: str | None, words: Sequence[str], table: Table, draw: Draw, *place: str) -> tuple[str, str] | None:
    """The word among those a finding may have that says ``stated``, and one that says something else."""
    meaning = {word: next((value for value, phrases in table.items() if word in phrases), word) for word in words}
    right = next((word for word in words if meaning[word] == stated), None)
    other = draw.one([word for word in words if meaning[word] != stated], *place)
    return None if stated is None or right is None or other is None else (right, other)
