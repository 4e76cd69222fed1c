"""Where the spans of a pair lie: inside, apart, filled, cut between words, and turning one text into the other."""

from collections.abc import Sequence

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Span


def check_spans(chosen: str, rejected: str, spans: Sequence[Span], reference: str) -> None:
    """Spans are anchored, apart, filled on both sides, and turn one text into the other exactly."""
    if not spans:
        raise RecordError("no-fact-change", "nothing was changed", "$.spans")
    for side, text in (("chosen", chosen), ("rejected", rejected)):
        previous = -1
        for number, span in enumerate(spans):
            start, end = getattr(span, side)
            path = f"$.spans[{number}].{side}"
            if not 0 <= start <= end <= len(text):
                raise RecordError("anchor", "the span lies outside the text", path)
            if start <= previous:
                raise RecordError("overlap", "spans overlap, touch or are out of order", path)
            if not text[start:end].strip():
                raise RecordError("empty-span", "the span holds no character", path)
            previous = end
    if undo(chosen, rejected, spans) != rejected or undo(rejected, chosen, spans, back=False) != chosen:
        raise RecordError("not-reversible", "undoing the spans does not give the other side", "$.spans")
    for number, span in enumerate(spans):
        check_cuts(chosen, rejected, span, f"$.spans[{number}]")
        if span.evidence is not None:
            start, end = span.evidence
            if not (start < end <= len(reference) and reference[start:end].strip()):
                raise RecordError("evidence", "the evidence is not in the reference", f"$.spans[{number}].evidence")


def check_cuts(chosen: str, rejected: str, span: Span, path: str) -> None:
    """A span begins and ends between words, on both sides alike, or tokens would reach across its ends.

    The mark outside is of another class (letter, digit, other) than the ones inside, unless these are one and the same
    ("%." and "%."). A word behind the span has a space before it on both sides or on none: tokens hold that space.
    """
    (a, b), (c, d) = span.chosen, span.rejected
    before, behind = chosen[a - 1 : a], chosen[b : b + 1]
    first, last = chosen[a] + rejected[c], chosen[b - 1] + rejected[d - 1]
    spaced = {mark.isspace() for mark in last}
    if _fuse(first, before) or _fuse(last, behind) or (behind.strip() and len(spaced) > 1):
        raise RecordError("straddle", "the span cuts a word, or a space before one on one side only", path)


def _fuse(inside: str, outside: str) -> bool:
    """Whether one of the two marks inside may share a token with the one outside that it stands beside."""
    if not outside.strip() or _class(outside) not in map(_class, inside):
        return False
    return _class(outside) != "other" or len(set(inside)) > 1


def _class(mark: str) -> str:
    return "letter" if mark.isalpha() else "digit" if mark.isdigit() else "space" if mark.isspace() else "other"


def undo(text: str, other: str, spans: Sequence[Span], *, back: bool = True) -> str:
    """``text`` with each span replaced by the other side's words; ``back``: text is the chosen side."""
    parts: list[str] = []
    position = 0
    for span in spans:
        mine, theirs = (span.chosen, span.rejected) if back else (span.rejected, span.chosen)
        parts += [text[position : mine[0]], other[theirs[0] : theirs[1]]]
        position = mine[1]
    return "".join([*parts, text[position:]])
