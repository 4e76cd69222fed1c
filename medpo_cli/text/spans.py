"""Character spans to token masks, by offsets and never by re-tokenising (docs/method).

The answer is tokenised once, alone and clean; a token belongs to a span if the two share at least
one character that is not white space. So a leading space that a tokenizer puts into the token does
no harm, and several tokens of one character (byte-level BPE) all belong to it. A token of white space
alone goes with the word behind it.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Span
from medpo_cli.text.fact import Offsets

Tokenize = Callable[[str], tuple[Sequence[int], Sequence[Offsets]]]
"""A text's token ids and the code points that each covers."""


def token_mask(offsets: Sequence[Offsets], spans: Sequence[Offsets], text: str) -> list[bool]:
    """Which tokens lie in a span.

    Args:
        offsets: ``[start, end)`` of each token in code points of ``text``; empty ones (the end of
            turn token) are never masked.
        spans: the edited stretches, code points of ``text``.
        text: the answer that the offsets index.

    Raises:
        RecordError: ``straddle`` if more than half of a masked token's non-space characters lie
            outside the spans; ``no-tokens`` if a span has no token; ``empty-span``, ``bad-span``.
    """
    _check(spans, text)
    solid, inside = _counts(spans, text)
    mask = []
    for start, end in offsets:
        shared = inside[end] - inside[start]
        if shared and 2 * (solid[end] - solid[start] - shared) > solid[end] - solid[start]:
            raise RecordError("straddle", "a token reaches further out of a span than into it", "$.spans")
        mask.append(shared > 0)
    _take_spaces(mask, offsets, solid)
    for number, (start, end) in enumerate(spans):
        if not any(kept and a < end and start < b for kept, (a, b) in zip(mask, offsets, strict=True)):
            raise RecordError("no-tokens", "a span holds no token", f"$.spans[{number}]")
    return mask


def _take_spaces(mask: list[bool], offsets: Sequence[Offsets], solid: Sequence[int]) -> None:
    """A token of white space alone goes with the word behind it.

    One tokenizer writes " left" as one token and " right" as two; else the ids outside the spans
    would differ between the sides of a pair.
    """
    for index in range(len(mask) - 2, -1, -1):
        (start, end), following = offsets[index], offsets[index + 1]
        if start < end == following[0] and mask[index + 1] and solid[start] == solid[end]:
            mask[index] = True


def stretch_weights(
    offsets: Sequence[Offsets], stretches: Sequence[tuple[int, int, float]], rest: float, text: str
) -> list[float]:
    """The weight of each token: of the stretches it shares a non-space character with the heaviest, else ``rest``.

    A token of white space alone weighs as much as the one behind it.
    """
    found: list[float] = []
    for start, end in reversed(offsets):
        word = start + len(text[start:end]) - len(text[start:end].lstrip())
        if word == end and found:
            found.append(found[-1])
            continue
        found.append(max((weight for a, b, weight in stretches if a < end and word < b), default=rest))
    return found[::-1]


def outside(ids: Iterable[int], mask: Iterable[bool]) -> list[int]:
    """Token ids that no span covers: equal on both sides of a good pair."""
    return [token for token, masked in zip(ids, mask, strict=True) if not masked]


def check_tokens(chosen: str, rejected: str, spans: Sequence[Span], tokenize: Tokenize) -> None:
    """Refuse a pair whose edit this tokenizer cannot tell from what was left alone.

    Raises:
        RecordError: what ``token_mask`` refuses; ``outside-ids`` if the tokens outside the spans differ
            between the sides (an edit that changed how its neighbours are cut).
    """
    sides = []
    for side, text in (("chosen", chosen), ("rejected", rejected)):
        ids, offsets = tokenize(text)
        mask = token_mask(offsets, [getattr(span, side) for span in spans], text)
        sides.append(outside(ids, mask))
    if sides[0] != sides[1]:
        raise RecordError("outside-ids", "the tokens outside the spans differ between the sides", "$.spans")


def _check(spans: Sequence[Offsets], text: str) -> None:
    for number, (start, end) in enumerate(spans):
        if not 0 <= start <= end <= len(text):
            raise RecordError("bad-span", "a span lies outside the text", f"$.spans[{number}]")
        if not text[start:end].strip():
            raise RecordError("empty-span", "a span holds no character", f"$.spans[{number}]")


def _counts(spans: Sequence[Offsets], text: str) -> tuple[list[int], list[int]]:
    """Running counts of non-space characters, of all and of those inside spans; length len + 1."""
    marks = [not mark.isspace() for mark in text]
    kept = [False] * len(text)
    for start, end in spans:
        kept[start:end] = marks[start:end]
    return list(accumulate(marks, initial=0)), list(accumulate(kept, initial=0))
