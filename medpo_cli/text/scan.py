"""Marks the words of a sentence that the lexicon knows: one pass, longest phrase first."""

import re
from typing import NamedTuple

from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.phrases import Node
from medpo_cli.text.words import Token, tokens

_NUMBER = r"\d+(?:\.\d+)?"
_UNIT = r"mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?"
_SIZE = re.compile(
    rf"(?<![\w.])(?P<one>{_NUMBER})(?:\s*-?\s*(?:{_UNIT})?\s*(?:[x×]|by|to|-|–)\s*(?P<two>{_NUMBER}))?"
    rf"(?:\s*-?\s*(?:{_UNIT})?\s*(?:[x×]|by)\s*(?P<three>{_NUMBER}))?[\s-]*(?P<unit>{_UNIT})\b",
    re.IGNORECASE,
)
# a measurement that is not the finding's: an earlier one, a bound, a distance
_NOT_ITS_SIZE = re.compile(
    r"(?:previously|formerly|prior|smaller than|less than|greater than|larger than|under|over|from|was|were|<|>)"
    r"(?: approximately| about| measuring| measured)?\s*$",
    re.IGNORECASE,
)
_GROWN = re.compile(rf"\bfrom\s+{_NUMBER}\s*(?:{_UNIT})?\s+to\s+$", re.IGNORECASE)
_DISTANCE = re.compile(
    r"\s*(?:above|below|from|proximal to|distal to|beyond|past|cranial to|caudal to|superior to|inferior to)\b"
    r"|\s*\(?(?:previously|before|on the prior)\b(?!\s*(?:measur\w+\s*)?\d)",
    re.IGNORECASE,
)
_CLOSING = frozenset(".!?:;()[]")
_JOINING = frozenset({",", "and", "or", "/"})
_MOST_SKIPPED = 6


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
    root = lexicon.index
    while position < len(words):
        word, start, end = words[position]
        if word in root.following:
            items.extend(_sharing_a_noun(words, position, root))
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


def _sharing_a_noun(words: list[Token], position: int, root: Node) -> list[Item]:
    """The finding of a first word whose noun comes later: "no pleural or pericardial effusion" denies two."""
    place = position + 1
    if place >= len(words) or words[place].word not in _JOINING:
        return []
    while place + 1 < len(words) and words[place].word in _JOINING:
        place += 1
        if words[place].word not in _JOINING and place + 1 < len(words) and words[place + 1].word in _JOINING:
            place += 1
    if place + 1 >= len(words):
        return []
    own, last = (root.following[words[k].word] if words[k].word in root.following else None for k in (position, place))
    ends = [None if node is None else node.following.get(words[place + 1].word) for node in (own, last)]
    values = [{role.value for role in node.roles if role.part == "finding"} if node else set() for node in ends]
    if not all(values) or values[0] == values[1]:
        return []
    return [Item("finding", value, words[position].start, words[position].end) for value in sorted(values[0])]


def _match(words: list[Token], position: int, lexicon: Lexicon, items: list[Item]) -> int:
    """Append the items of the longest phrase at ``position``; returns its number of words.

    Adverbs may stand in a cue ("has now resolved"), attributes between the words of a finding ("elevation of
    the right hemidiaphragm", "enlarged hilar or mediastinal lymph nodes"); these are marked as well.
    """
    found, best, inner = _longest(words, position, lexicon)
    if found is None:
        return 0
    start, end = words[position].start, words[position + best - 1].end
    if _leads(words, position, best, found.roles[-1].part):
        return best
    items.extend(Item(part, value, start, end) for part, value in found.roles if part != "answers")
    if best > 1 and found.names_body:
        _mark_inner(words, position, best, found, inner, lexicon, items)
    return best


def _longest(words: list[Token], position: int, lexicon: Lexicon) -> tuple[Node | None, int, tuple[int, ...]]:
    """The phrase that reaches farthest, its number of words, and the places of those passed over."""
    found: Node | None = None
    best = 0
    inner: tuple[int, ...] = ()
    waiting: list[tuple[Node, int, tuple[int, ...]]] = [(lexicon.index, position, ())]
    while waiting:
        node, place, skipped = waiting.pop()
        if node.roles and place - position > best and (not skipped or node.parted):
            found, best, inner = node, place - position, skipped
        if place == len(words) or not node.following:
            continue
        word = words[place].word
        if place > position and word in lexicon.passed:
            stride = _stride(words, place, node, lexicon)
            if stride:
                waiting.append((node, place + stride, (*skipped, *range(place, place + stride))))
        following = node.following.get(word)
        if following is not None:  # tried first: what stands there in full goes before what is passed over
            waiting.append((following, place + 1, skipped))
    return found, best, inner


def _stride(words: list[Token], place: int, node: Node, lexicon: Lexicon) -> int:
    """How many words to pass over before the phrase goes on: attributes, in a list or not; 0 if it does not."""
    for number in range(place, min(place + _MOST_SKIPPED, len(words))):
        word = words[number].word
        if number > place and word in node.following and words[number - 1].word not in _JOINING:
            return number - place
        if word not in lexicon.passed and (number == place or word not in _JOINING):
            return 0
    return 0


def _mark_inner(
    words: list[Token],
    position: int,
    length: int,
    found: Node,
    skipped: tuple[int, ...],
    lexicon: Lexicon,
    items: list[Item],
) -> None:
    """Attributes among the words passed over, organs among the others, the side of a subject ("both lungs")."""
    named = ("organ", "side") if any(part == "subject" for part, *_ in found.roles) else ("organ",)
    for number in range(position, position + length):
        word, start, end = words[number]
        node = lexicon.index.following.get(word)
        if node is not None:
            wanted = lexicon.attribute_parts if number in skipped else named
            items.extend(Item(part, value, start, end) for part, value in node.roles if part in wanted)


def _leads(words: list[Token], position: int, length: int, part: str) -> bool:
    """True for the Yes or No that opens an answer: no cue, but a commitment."""
    following = words[position + length].word if position + length < len(words) else ""
    return position == 0 and part == "answers" and following in {",", ".", ";", ":", "!", "there", ""}


def _sizes(sentence: str) -> list[Item]:
    """Measurements; the value is the largest dimension in millimetres."""
    found = []
    for size in _SIZE.finditer(sentence):
        if size["two"] and _GROWN.search(sentence, 0, size.start("two")):  # "from 6 to 9 mm"
            found.append(_size(size, ("two",), size.start("two")))
            continue
        if _NOT_ITS_SIZE.search(sentence, 0, size.start()) or _DISTANCE.match(sentence, size.end()):
            continue
        found.append(_size(size, ("one", "two", "three"), size.start()))
    return found


def _size(size: re.Match[str], names: tuple[str, ...], start: int) -> Item:
    factor = 10.0 if size["unit"].lower().startswith("c") else 1.0
    largest = max(float(size[name]) for name in names if size[name])
    return Item("size_mm", f"{largest * factor:.6g}", start, size.end())
