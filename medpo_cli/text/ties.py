"""Which regions of a record show what an edited span is about, as far as their labels say.

A region's label is a finding in any words of the lexicon, with or without a side: ``nodule``, ``left effusion``.
"""

from collections.abc import Sequence

import msgspec

from medpo_cli.schema.records import Region, Span
from medpo_cli.text.fact import Fact
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon

SIDES = frozenset({"left", "right"})


def tied(spans: Sequence[Span], regions: Sequence[Region], chosen: str, lexicon: Lexicon) -> list[Span]:
    """The spans with ``regions``: indices of those that are labelled with the span's finding, on its side.

    The side is what ``chosen``, which is right about it, says of the finding in the span's sentence. A region whose
    label names no side, and a sentence that names none or both, fit either.

    Args:
        spans: of a pair.
        regions: of its record.
        chosen: the text that the chosen offsets lie in.
        lexicon: the clinical words.
    """
    known = [_known(region.label, lexicon) for region in regions]
    facts = extract(chosen, lexicon) if regions else []
    found = []
    for span in spans:
        labels = {_name(label) for label in (span.label or "").split("+")}
        sides = _sides(facts, labels, span)
        fits = [
            number
            for number, (names, side) in enumerate(known)
            if names & labels and (side is None or not sides or side in sides)
        ]
        found.append(msgspec.structs.replace(span, regions=tuple(fits) or None))
    return found


def _name(label: str) -> str:
    return "_".join(label.lower().replace("_", " ").split())


def _known(label: str, lexicon: Lexicon) -> tuple[set[str], str | None]:
    """What a label may be called, and its side."""
    words = _name(label).split("_")
    side = next((word for word in words if word in SIDES), None)
    stated = extract(" ".join(words), lexicon)
    names = {"_".join(word for word in words if word not in SIDES), *(fact.finding for fact in stated)}
    return names - {""}, side


def _sides(facts: Sequence[Fact], labels: set[str], span: Span) -> set[str]:
    """The one side that the span's sentence says; empty where it says none, both or several."""
    start, end = span.chosen
    here = [fact for fact in facts if fact.finding in labels and fact.sentence[0] <= start and end <= fact.sentence[1]]
    said = {fact.side for fact in here if fact.side is not None}
    return {side for side in said if side in SIDES} if said <= SIDES and len(said) == 1 else set()
