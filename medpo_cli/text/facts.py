"""Clinical facts of a text, and their comparison with the truth.

Own code on the standard library: sentences, then the longest lexicon phrases in each, then rules for
which cue (negation, doubt) and which attribute (side, location, severity, size, texture, change)
reaches which finding. Everything is found by words, so the result follows from the lexicon alone.
"""

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


def extract(text: str, lexicon: Lexicon) -> list[Fact]:
    """All facts of ``text`` in order, with offsets in code points of it.

    Exact on the demo's language; on free reports it knows lists under one negation, scope breakers,
    doubt, cues behind the finding, "left lower lobe", and measurements in mm or cm.
    """
    facts: list[Fact] = []
    for start, end in sentences(text):
        sentence = text[start:end]
        found = _cached(sentence, lexicon) if end - start <= _CACHED_LENGTH else sentence_facts(sentence, lexicon)
        facts.extend(found if start == 0 else [fact.moved(start) for fact in found])
    return facts


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
