"""Clinical facts of a text, and their comparison with the truth.

Own code on the standard library: sentences, then the longest lexicon phrases in each, then rules for
which cue (negation, doubt) and which attribute (side, location, severity, size, texture, change)
reaches which finding. Everything is found by words, so the result follows from the lexicon alone.
"""

import re
from functools import lru_cache

from medpo_cli.text.clauses import sentence_facts
from medpo_cli.text.comparison import Comparison, Match, compare, contradictory, meaning
from medpo_cli.text.fact import ATTRIBUTES, Fact, Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.scan import scan
from medpo_cli.text.words import sentences

__all__ = [
    "ATTRIBUTES",
    "Comparison",
    "Fact",
    "Match",
    "Offsets",
    "compare",
    "contradictory",
    "extract",
    "meaning",
    "named",
]
_CACHED_LENGTH = 300
_cached = lru_cache(maxsize=8192)(sentence_facts)


# sections that report nothing seen on this image, and those that end them
_SILENT = (
    "history|indications?|clinical (?:history|information|indications?|details)|comparisons?|technique|procedure"
    "|reason for (?:exam|examination|study)|exam|examination|study|prior studies"
)
_SPOKEN = "findings|impression|conclusion|opinion|results?|report|interpretation|chest|lungs|heart|abdomen|brain"
_HEADING = re.compile(rf"(?:^|(?<=[.!?\n])[ \t]*)(?:(?P<silent>{_SILENT})|{_SPOKEN})[ \t]*:|\n[ \t]*\n", re.IGNORECASE)
_OWN_HEADING = re.compile(r"(?P<words>[A-Za-z][^.!?:;\n]{0,39}):\s*$")


def extract(text: str, lexicon: Lexicon, *, question: bool = False) -> list[Fact]:
    """All facts of ``text`` in order, with offsets in code points of it.

    Knows lists under one negation, scope breakers, doubt, cues behind the finding, "left lower lobe",
    measurements in mm or cm. Questions, and sections such as the history, state nothing.

    Args:
        text: an answer, a reference or a prompt.
        lexicon: the clinical words.
        question: read what a question asks about as if it were stated (for prompts).
    """
    facts: list[Fact] = []
    unheard = () if question else _unheard(text)
    headings = _headings(text) if ":" in text else {}
    for start, end in sentences(text):
        sentence = text[start:end]
        if not question and (sentence.endswith("?") or any(a <= start < b for a, b in unheard)):
            continue
        read = _cached if end - start <= _CACHED_LENGTH else sentence_facts
        found = read(sentence, lexicon, headings.get(start, ""))
        facts.extend(found if start == 0 else [fact.moved(start) for fact in found])
    return facts


def _headings(text: str) -> dict[int, str]:
    """Start of a sentence -> the heading of its line; with a colon where it does not stand directly before."""
    found: dict[int, str] = {}
    heading, previous = "", 0
    for start, end in sentences(text):
        lead = text[previous:start]
        if "\n" in lead:
            heading = ""
        elif heading and not heading.endswith(":"):
            heading += ":"
        own = _OWN_HEADING.search(lead)
        if own is not None:
            heading = own["words"]
        if heading:
            found[start] = heading
        previous = end
    return found


def _unheard(text: str) -> tuple[Offsets, ...]:
    """Stretches under a heading such as "History:", up to the next heading or blank line."""
    if ":" not in text:
        return ()
    found: list[Offsets] = []
    start: int | None = None
    for heading in _HEADING.finditer(text):
        if start is not None:
            found.append((start, heading.start()))
        start = heading.end() if heading["silent"] else None
    return tuple(found) if start is None else (*found, (start, len(text)))


def named(text: str, lexicon: Lexicon) -> list[str]:
    """Ids of the findings that a text (a question, say) names, stated or not."""
    found: dict[str, None] = {}
    for start, end in sentences(text):
        for item in scan(text[start:end], lexicon):
            if item.part == "finding":
                found[item.value] = None
            elif item.part == "subject":
                found.update(dict.fromkeys(lexicon.normality[int(item.value)].findings))
    return list(found)
