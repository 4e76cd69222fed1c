"""Answers as words with the differing ones marked, or as masked words that show no character."""

import re
from difflib import SequenceMatcher

from medpo_cli.evaluation.page.model import Word

_WORD = re.compile(r"\S+\s*")


def split(text: str) -> list[str]:
    """Words with the white space after them; joined they give the text without leading space."""
    return _WORD.findall(text)


def _key(word: str) -> str:
    """What makes two words the same on the page: case and punctuation at the end do not."""
    return word.strip().rstrip(".,;:").casefold()


def marked(text: str, other: str | None, *, with_text: bool) -> tuple[Word, ...]:
    """The words of ``text``; those that ``other`` has not are marked.

    Args:
        text: what is shown.
        other: what it is compared with, None to mark nothing.
        with_text: False replaces every word by one without characters, equally long for all.
    """
    words = split(text)
    new = [False] * len(words)
    if other is not None:
        matcher = SequenceMatcher(None, [_key(word) for word in split(other)], [_key(word) for word in words], False)
        for tag, _, _, start, end in matcher.get_opcodes():
            if tag != "equal":
                new[start:end] = [True] * (end - start)
    return tuple(Word(word if with_text else None, mark) for word, mark in zip(words, new, strict=True))


def spans(text: str, offsets: list[tuple[int, int]], *, with_text: bool) -> tuple[Word, ...]:
    """The words of ``text``; those that touch one of the half-open ``offsets`` are marked."""
    out = []
    for match in _WORD.finditer(text):
        start, end = match.start(), match.start() + len(match.group().rstrip())
        touched = any(start < stop and begin < end for begin, stop in offsets)
        out.append(Word(match.group() if with_text else None, touched))
    return tuple(out)
