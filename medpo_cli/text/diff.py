"""Differences between two wordings as character spans, whole words only.

Word-level difflib with ``autojunk`` off: it groups a rewritten clause into one span and never cuts a
word. Used to import foreign pairs and to check; our own edits carry their operations.
"""

import re
from difflib import SequenceMatcher

from medpo_cli.text.fact import Offsets

_PIECE = re.compile(r"\s+|\w+(?:[.,'’\-]\w+)*|[^\w\s]")


def difference(first: str, second: str) -> list[tuple[Offsets, Offsets]]:
    """Stretches that differ, ``(in first, in second)``, in order; outside them the texts are equal.

    Changes with only white space between them are one. A side may be empty (an insertion).
    """
    ours, theirs = (list(_PIECE.finditer(text)) for text in (first, second))
    a, b = ([piece.group() for piece in pieces] for pieces in (ours, theirs))
    found: list[tuple[int, int, int, int]] = []
    for tag, i0, i1, j0, j1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if found and not "".join(a[found[-1][1] : i0]).strip():
            i0, _, j0, _ = found.pop()
        found.append((i0, i1, j0, j1))
    return [(_place(ours, i0, i1, len(first)), _place(theirs, j0, j1, len(second))) for i0, i1, j0, j1 in found]


def _place(pieces: list[re.Match[str]], start: int, end: int, length: int) -> Offsets:
    """Offsets of ``pieces[start:end]``."""
    first = pieces[start].start() if start < len(pieces) else length
    return first, pieces[end - 1].end() if end > start else first
