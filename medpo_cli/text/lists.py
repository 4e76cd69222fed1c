"""Taking one finding out of a list: "no effusion, edema or pneumothorax" without the edema."""

import re
from collections.abc import Collection
from functools import lru_cache

from medpo_cli.text.clauses import sentence_facts
from medpo_cli.text.comparison import meaning
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.lexicon import Lexicon

_SEPARATOR = re.compile(r",?\s+(?:and|or|nor|with|without|as well as|plus)\s+|[,;]\s+", re.IGNORECASE)
_WORD = re.compile(r"[a-z]", re.IGNORECASE)
_DETERMINER = re.compile(r"(?<!\w)(?:the|an?)\s+$", re.IGNORECASE)
_LED = re.compile(r"(?:any |definite )?(?:evidence|signs?|findings?) (?:of|for) $", re.IGNORECASE)
# words that say something of what stood before them
_HANGING = re.compile(
    r"(?:causing|due|likely|which|that|compatible|consistent|suggest\w*|related|secondary|represent\w*|reflect\w*"
    r"|resulting|associated|but|from|of|in|on|at|is|are|was|were)\b",
    re.IGNORECASE,
)
_TWO = re.compile(r"^([^,;]*), (or|and|nor) ([^,;]*)$")
_PLURAL = re.compile(r"(?:(?!there\b)(?:[\w-]+ )*[\w-]*[^\Ws] |there (?=(?:are|were) an? ))(are|were)\b", re.IGNORECASE)
_OWN = ("finding", "side", "location", "severity", "size_mm", "texture", "number", "margin")


def without(sentence: str, findings: Collection[str], lexicon: Lexicon) -> str | None:
    """The sentence without some of its findings; None if it does not then state just the others.

    Args:
        sentence: one sentence with several facts.
        findings: ids to take out.
        lexicon: to read with.
    """
    return _without(sentence, tuple(findings), lexicon)


@lru_cache(maxsize=4096)
def _without(sentence: str, findings: tuple[str, ...], lexicon: Lexicon) -> str | None:
    """``without``; reports repeat their sentences."""
    text = sentence
    for finding in findings:
        facts = sentence_facts(text, lexicon)
        fact = next((one for one in facts if one.finding == finding), None)
        shorter = None if fact is None else _cut(text, fact)
        if shorter is None or len(facts) < 2:
            return None
        kept = [one for one in facts if one.finding != finding]
        if meaning(sentence_facts(shorter, lexicon)) != meaning(kept):
            return None
        text = shorter
    return text


def _cut(text: str, fact: Fact) -> str | None:
    """Drop the words of one fact with the separator that binds them to the list."""
    start, end = _extent(text, fact)
    separators = [found.span() for found in _SEPARATOR.finditer(text)]
    before = [place for place in separators if place[1] <= start]
    after = [place for place in separators if end <= place[0]]
    if before and not after:
        shorter = text[: before[-1][0]] + text[end:]
        separator = text[slice(*before[-1])]
        return _agreeing(_joined_again(shorter, before, separator), separator)
    if after and text[end : after[0][0]].strip() == "":
        separator, rest = text[slice(*after[0])], text[after[0][1] :]
        if before:
            return _agreeing(text[: before[-1][0]] + _link(text, before, separator, start) + rest, separator)
        if _HANGING.match(rest):
            return None
        determiner = _DETERMINER.search(text, 0, start)
        start = determiner.start() if determiner else start
        shorter = _once(text[:start], rest)
        return _agreeing(shorter[:1].upper() + shorter[1:] if start == 0 else shorter, separator)
    return None


def _once(lead: str, rest: str) -> str:
    """The two together; a word that both have where they meet once ("No A, no B" without A)."""
    last, first = lead.rstrip().rpartition(" ")[2], rest.partition(" ")[0]
    return lead + (rest[len(first) + 1 :] if last and last.lower() == first.lower() else rest)


def _link(text: str, before: list[Offsets], separator: str, start: int) -> str:
    """What joins the members around one that is gone: "A, B, or C" without B is "A or C"."""
    own = text[slice(*before[-1])]
    commas = sum(text[slice(*place)].strip() == "," for place in before)
    led = _LED.search(text, before[-1][1], start)
    if own.strip() != "," or not _WORD.search(separator):
        return own + (led.group() if led else "")
    return separator if commas > 1 else f" {separator.strip(' ,;')} "


def _agreeing(text: str, separator: str) -> str:
    """What is left of "A, B, or C" is "A or B"; where "A and B are" seen, one thing "is"."""
    text = _TWO.sub(r"\1 \2 \3", text)
    found = _PLURAL.match(text) if separator.strip(" ,").lower() == "and" else None
    if found is None:
        return text
    verb = {"are": "is", "were": "was"}.get(found.group(1), found.group(1))
    return text[: found.start(1)] + verb + text[found.end(1) :]


def _extent(text: str, fact: Fact) -> Offsets:
    """The finding with those of its attributes that no separator divides from it."""
    start, end = fact.at["finding"]
    places = [fact.at[name] for name in _OWN if name in fact.at]
    for place in sorted(places, key=lambda place: abs(place[0] - start)):
        low, high = min(start, place[0]), max(end, place[1])
        if not _SEPARATOR.search(text[low:high]):
            start, end = low, high
    return start, end


def _joined_again(text: str, before: list[Offsets], separator: str) -> str:
    """After the last of three or more is gone, the last but one needs the "or"."""
    word = separator.strip(" ,;").lower()
    if word not in ("and", "or", "nor") or len(before) < 2:
        return text
    start, end = before[-2]
    if text[start:end].strip() != ",":
        return text
    return f"{text[:start]} {word} {text[end:]}"
