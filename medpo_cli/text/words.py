"""Words and sentences of a report, by code-point offsets."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[,;:.!?()/\[\]\n\r]")
PLAIN_WORD = re.compile(r"\w+(?:[.,'’\-]\w+)*|[^\w\s]")
_ENDS = re.compile(r"[.!?]+(?=[\s\"')\]]|$)|[\r\n]+")
_LEAD = re.compile(r"\s*(?:(?:[-*•‣]|\d{1,2}[.)])\s+)?(?:[^.!?:;\n]{1,40}:\s+)?\s*")
_LIST_NUMBER = re.compile(r"\s*\d{1,2}")
LONGEST = 600
MAX_MARKS = 30


class Token(NamedTuple):
    """A lower-case word, number or punctuation mark and where it stands."""

    word: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Words, numbers (decimals whole) and punctuation; hyphens separate ("left-sided" is two words)."""
    return [Token(found.group().lower(), found.start(), found.end()) for found in TOKEN.finditer(text)]


def phrase_words(phrase: str) -> tuple[str, ...]:
    """A lexicon phrase as the words that must follow each other in a text."""
    return tuple(word.lower() for word in TOKEN.findall(phrase))


def word_count(text: str) -> int:
    """Number of words: runs of non-space characters with at least one letter or digit."""
    return sum(any(mark.isalnum() for mark in run) for run in text.split())


def piles_marks(text: str) -> bool:
    """Whether some letter carries more combining marks than Unicode's stream-safe format allows (30)."""
    run = 0
    for mark in "" if text.isascii() else text:
        run = run + 1 if unicodedata.combining(mark) else 0
        if run > MAX_MARKS:
            return True
    return False


def nfc(text: str) -> str:
    """``text`` in normal form C; one that piles up marks as it is, because sorting these takes minutes."""
    return text if piles_marks(text) else unicodedata.normalize("NFC", text)


def is_shouted(text: str) -> bool:
    """All letters are capitals, in more than an abbreviation: a reporting style that edits must keep."""
    return text.isupper() and word_count(text) > 1


@lru_cache(maxsize=2048)
def sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Offsets of the sentences, final punctuation included; list markers and headings left out.

    A sentence ends at ``.``, ``!`` or ``?`` before white space, or at a line break; text without an end
    is cut every ``LONGEST`` characters, so that the work grows with the length only.
    """
    found = []
    start = 0
    for end in _ENDS.finditer(text):
        body = text[start : end.start()]
        if end.group() == "." and _LIST_NUMBER.fullmatch(body):
            continue
        found.append((start, end.start() if end.group()[0] in "\r\n" else end.end()))
        start = end.end()
    found.append((start, len(text)))
    bodies = (_body(text, start, end) for start, end in found)
    return tuple(piece for start, end in bodies for piece in _pieces(text, start, end))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentence, in pieces of at most ``LONGEST`` characters cut at white space where there is some."""
    while end - start > LONGEST:
        cut = text.rfind(" ", start + 1, start + LONGEST)
        cut = start + LONGEST if cut < 0 else cut
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _body(text: str, start: int, end: int) -> tuple[int, int]:
    """A sentence without marker, heading and white space at its ends."""
    lead = _LEAD.match(text, start, end)
    start = lead.end() if lead else start
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
