"""Edit operations on a text: replace ``[start, end)`` by other words; the operations are the spans."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Span, SpanKind
from medpo_cli.text.fact import Offsets
from medpo_cli.text.words import PLAIN_WORD, is_shouted

_FINAL = re.compile(r"[.!?]+$")

_ARTICLE = re.compile(r"(?<![\w-])(an?)\s+$", re.IGNORECASE)
_AN = re.compile(r"(?:[aeio](?!ne\b|u)|au|ou|u(?!ni|se|su|re|ti)|8|11\b|18\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Operation:
    """One replacement in a source text.

    Attributes:
        start, end: stretch of the source, code points; equal for an insertion.
        quote: what stands there; must be equal, else the operation is for another text.
        text: what shall stand there.
        kind, label: kind of error and finding id.
        source: the rule that made it.
        confidence: 1 where the sentence says one thing, less where several statements were rewritten.
        evidence: where the reference says so.
    """

    start: int
    end: int
    quote: str
    text: str
    kind: SpanKind
    label: str | None
    source: str
    confidence: float = 1.0
    evidence: Offsets | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A source text, its edited form, and where each operation lies in both."""

    before: str
    after: str
    operations: tuple[Operation, ...]
    places: tuple[tuple[Offsets, Offsets], ...]

    def spans(self, *, chosen_is_after: bool) -> list[Span]:
        """Spans of a pair whose chosen side is the edited (or the source) text."""
        return [
            Span(
                kind=operation.kind,
                label=operation.label,
                chosen=after if chosen_is_after else before,
                rejected=before if chosen_is_after else after,
                source=operation.source,
                confidence=operation.confidence,
                evidence=operation.evidence,
            )
            for operation, (before, after) in zip(self.operations, self.places, strict=True)
        ]


def apply(text: str, operations: Iterable[Operation]) -> Edited:
    """Apply operations, each cut down to the words that differ and never empty on a side.

    Operations that touch, or share a word after widening, become one. Capitals and final marks stay.

    Raises:
        RecordError: ``anchor`` (the quote does not stand there), ``overlap``.
    """
    ordered = sorted(operations, key=lambda operation: (operation.start, operation.end))
    ordered = [replace(operation, text=_in_style(text, operation)) for operation in ordered]
    for operation in ordered:
        if text[operation.start : operation.end] != operation.quote or operation.start > operation.end:
            raise RecordError("anchor", "an operation quotes words that do not stand at its place")
    if any(first.end > second.start for first, second in pairwise(ordered)):
        raise RecordError("overlap", "two operations change the same words")
    trimmed = [trim(operation) for operation in ordered]
    changed = [with_article(text, operation) for operation in trimmed if operation.quote != operation.text]
    return _rebuild(text, filled(text, changed))


def _in_style(text: str, operation: Operation) -> str:
    """The new words in capitals if all of ``text`` is, and with the final marks that the old ones have.

    Where a text ends a sentence with "..", one mark inside the span and one outside would share a token.
    """
    words = operation.text.upper() if is_shouted(text) else operation.text
    old, new = _FINAL.search(operation.quote), _FINAL.search(words)
    return words[: new.start()] + old.group() if old and new else words


def trim(operation: Operation) -> Operation:
    """Drop the words that both wordings share at the beginning and at the end."""
    old, new = list(PLAIN_WORD.finditer(operation.quote)), list(PLAIN_WORD.finditer(operation.text))
    head = 0
    while head < min(len(old), len(new)) and _same_to_left(operation, old[head].span(), new[head].span()):
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and _same_to_right(
        operation, old[-1 - tail].span(), new[-1 - tail].span()
    ):
        tail += 1
    old_start, new_start = (old[head - 1].end(), new[head - 1].end()) if head else (0, 0)
    old_end, new_end = (old[-tail].start(), new[-tail].start()) if tail else (len(operation.quote), len(operation.text))
    quote, text = operation.quote[old_start:old_end], operation.text[new_start:new_end]
    left = min(len(quote) - len(quote.lstrip()), len(text) - len(text.lstrip()))
    quote, text, old_start = quote[left:], text[left:], old_start + left
    right = min(len(quote) - len(quote.rstrip()), len(text) - len(text.rstrip()))
    quote, text = quote[: len(quote) - right], text[: len(text) - right]
    start = operation.start + old_start
    return replace(operation, start=start, end=start + len(quote), quote=quote, text=text)


def _same_to_left(operation: Operation, old: Offsets, new: Offsets) -> bool:
    """Both texts are equal up to the end of these words."""
    return operation.quote[: old[1]] == operation.text[: new[1]]


def _same_to_right(operation: Operation, old: Offsets, new: Offsets) -> bool:
    """Both texts are equal from the start of these words on."""
    return operation.quote[old[0] :] == operation.text[new[0] :]


def filled(text: str, operations: Sequence[Operation]) -> list[Operation]:
    """Operations that have a word on both sides: an empty one takes in the word before it, else the one after.

    Where another operation stands in the way, the two become one; so do operations without a character
    between them. The label of two findings in one is ``a+b``.
    """
    done: list[Operation] = []
    waiting = list(operations)
    while waiting:
        operation = waiting.pop(0)
        previous = done[-1] if done else None
        if previous is not None and previous.end == operation.start:
            waiting.insert(0, _one(text, done.pop(), operation))
        elif _has_word(operation.quote) and _has_word(operation.text):
            done.append(operation)
        elif (before := _last_word(text, previous.end if previous else 0, operation.start)) is not None:
            waiting.insert(0, _wider(text, operation, before, operation.end))
        elif previous is not None:
            waiting.insert(0, _one(text, done.pop(), operation))
        else:
            after = PLAIN_WORD.search(text, operation.end, waiting[0].start if waiting else len(text))
            if after is not None:
                waiting.insert(0, _wider(text, operation, operation.start, after.end()))
            elif waiting:
                waiting.insert(0, _one(text, operation, waiting.pop(0)))
            else:
                done.append(operation)
    return done


def _last_word(text: str, start: int, end: int) -> int | None:
    """Where the last word or mark of a stretch begins."""
    found = [word.start() for word in PLAIN_WORD.finditer(text, start, end)]
    return found[-1] if found else None


def _wider(text: str, operation: Operation, start: int, end: int) -> Operation:
    head, tail = text[start : operation.start], text[operation.end : end]
    return replace(
        operation, start=start, end=end, quote=head + operation.quote + tail, text=head + operation.text + tail
    )


def _one(text: str, first: Operation, second: Operation) -> Operation:
    """Two operations and what stands between them as one."""
    return replace(
        first,
        end=second.end,
        quote=text[first.start : second.end],
        text=first.text + text[first.end : second.start] + second.text,
        label="+".join(sorted({*_labels(first), *_labels(second)})) or None,
        confidence=min(first.confidence, second.confidence),
        evidence=first.evidence or second.evidence,
    )


def with_article(text: str, operation: Operation) -> Operation:
    """Take in an "a" or "an" before the operation that does not fit the new word."""
    article = _ARTICLE.search(text, max(0, operation.start - 4), operation.start)
    word = PLAIN_WORD.search(operation.text)
    if article is None or word is None or operation.text[:1].isspace():
        return operation
    wanted = "an" if _AN.match(operation.text[word.start() :]) else "a"
    old = article.group(1)
    if old.lower() == wanted:
        return operation
    start, gap = article.start(1), text[article.end(1) : operation.start]
    new = wanted.upper() if is_shouted(text) else wanted.capitalize() if old[0].isupper() else wanted
    return replace(
        operation, start=start, quote=text[start : operation.start] + operation.quote, text=new + gap + operation.text
    )


def _has_word(text: str) -> bool:
    return any(mark.isalnum() for mark in text)


def _labels(operation: Operation) -> list[str]:
    return operation.label.split("+") if operation.label else []


def _rebuild(text: str, operations: Sequence[Operation]) -> Edited:
    parts: list[str] = []
    places: list[tuple[Offsets, Offsets]] = []
    position = length = 0
    for operation in operations:
        parts += [text[position : operation.start], operation.text]
        start = length + operation.start - position
        length = start + len(operation.text)
        places.append(((operation.start, operation.end), (start, length)))
        position = operation.end
    parts.append(text[position:])
    return Edited(text, "".join(parts), tuple(operations), tuple(places))
