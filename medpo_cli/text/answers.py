"""Short answers: yes or no, and members of closed sets such as side, plane or modality."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from medpo_cli.text.lexicon import Lexicon

_YES_NO = re.compile(r"(?<![\w-])(yes|no)(?![\w-])", re.IGNORECASE)


class Member(NamedTuple):
    """The one member of a closed set that a text names, and where."""

    set: str
    value: str
    start: int
    end: int


def commitment(text: str) -> Literal["yes", "no"] | None:
    """The first whole-word yes or no; None if there is none."""
    found = _YES_NO.search(text)
    if found is None:
        return None
    return "yes" if found.group().lower() == "yes" else "no"


def commitment_at(text: str) -> tuple[int, int] | None:
    """Offsets of the word that ``commitment`` reads."""
    found = _YES_NO.search(text)
    return found.span() if found else None


def members(text: str, lexicon: Lexicon) -> dict[str, Member]:
    """Closed sets of which the text names exactly one value; the first place it does counts."""
    found: dict[str, Member] = {}
    for name, pattern in _patterns(lexicon).items():
        hits = [
            Member(name, str(hit.lastgroup).removeprefix("_").replace("__", "-"), *hit.span())
            for hit in pattern.finditer(text)
        ]
        if hits and len({hit.value for hit in hits}) == 1:
            found[name] = hits[0]
    return found


@lru_cache(maxsize=8)
def _patterns(lexicon: Lexicon) -> dict[str, re.Pattern[str]]:
    """One expression a set; each value is a named group."""
    patterns = {}
    for name, values in lexicon.closed_sets.items():
        groups = (
            f"(?P<_{value.replace('-', '__')}>{'|'.join(map(_phrase, phrases))})" for value, phrases in values.items()
        )
        patterns[name] = re.compile(rf"(?<!\w)(?:{'|'.join(groups)})(?!\w)", re.IGNORECASE)
    return patterns


def _phrase(phrase: str) -> str:
    """A phrase whose words may be joined by a space or a hyphen."""
    return r"[\s-]".join(map(re.escape, phrase.split()))
