"""Marks the words of a sentence that the lexicon knows: one pass, longest phrase first."""

import re
from typing import NamedTuple

from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import Token, tokens

_NUMBER = r"\d+(?:\.\d+)?"
_SIZE = re.compile(
    rf"(?<![\w.])(?P<one>{_NUMBER})(?:\s*(?:mm|cm)?\s*[x×]\s*(?P<two>{_NUMBER}))?"
    rf"(?:\s*(?:mm|cm)?\s*[x×]\s*(?P<three>{_NUMBER}))?[\s-]*(?P<unit>mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)\b",
    re.IGNORECASE,
)
# a measurement that is not the finding's: an earlier one, a bound, a distance
_NOT_ITS_SIZE = re.compile(
    r"(?:previously|formerly|smaller than|less than|greater than|larger than|under|over|from|was|<|>)\s*$",
    re.IGNORECASE,
)
_DISTANCE = re.compile(r"\s*(?:above|below|from|proximal to|distal to|beyond|past)\b", re.IGNORECASE)
_CLOSING = frozenset(".!?:;()[]")


class Item(NamedTuple):
    """A marked stretch ``[start, end)``: its part in the sentence and canonical value."""

    part: str
    value: str
    start: int
    end: int


def scan(sentence: str, lexicon: Lexicon) -> list[Item]:
    """All items of the sentence in order; a phrase with several roles gives several items."""
    words = tokens(sentence)
    items: list[Item] = []
    position = 0
    index = lexicon.index
    while position < len(words):
        word, start, end = words[position]
        if word in index:
            length = _match(words, position, lexicon, items)
            if length:
                position += length
                continue
        if word == ",":
            items.append(Item("joins", ",", start, end))
        elif word in _CLOSING:
            items.append(Item("breakers", word, start, end))
        elif word == "/":
            items.append(Item("joins", "or", start, end))
        position += 1
    if any(word[0].isdigit() for word, _, _ in words):
        items.extend(_sizes(sentence))
        items.sort(key=lambda item: (item.start, item.end))
    return items


def _match(words: list[Token], position: int, lexicon: Lexicon, items: list[Item]) -> int:
    """Append the items of the longest phrase at ``position``; returns its number of words."""
    for phrase in lexicon.index[words[position].word]:
        length = len(phrase.words)
        if position + length <= len(words) and all(
            words[position + offset].word == phrase.words[offset] for offset in range(1, length)
        ):
            start, end = words[position].start, words[position + length - 1].end
            if _leads(words, position, length, phrase.roles[-1].part):
                return length
            items.extend(Item(part, value, start, end) for part, value in phrase.roles if part != "answers")
            return length
    return 0


def _leads(words: list[Token], position: int, length: int, part: str) -> bool:
    """True for the Yes or No that opens an answer: no cue, but a commitment."""
    following = words[position + length].word if position + length < len(words) else ""
    return position == 0 and part == "answers" and following in {",", ".", ";", ":", "!", "there", ""}


def _sizes(sentence: str) -> list[Item]:
    """Measurements; the value is the largest dimension in millimetres."""
    found = []
    for size in _SIZE.finditer(sentence):
        if _NOT_ITS_SIZE.search(sentence, 0, size.start()) or _DISTANCE.match(sentence, size.end()):
            continue
        factor = 10.0 if size["unit"].lower().startswith("c") else 1.0
        largest = max(float(size[name]) for name in ("one", "two", "three") if size[name])
        found.append(Item("size_mm", f"{largest * factor:.6g}", size.start(), size.end()))
    return found
