"""A wrong side, place, grade, size, number: the word that says it, replaced by the reference's."""

from medpo_cli.schema.records import SpanKind
from medpo_cli.text.comparison import Match
from medpo_cli.text.fact import ATTRIBUTES, Fact
from medpo_cli.text.operations import Operation
from medpo_cli.text.style import in_case_of
from medpo_cli.text.truth import Reading

KINDS: dict[str, SpanKind] = {
    "side": "side", "location": "location", "severity": "severity", "size": "size", "change": "change",
    "number": "other", "margin": "other", "texture": "other",
}  # fmt: skip
_ADVERBS = {
    "mild": "mildly", "moderate": "moderately", "severe": "severely", "marked": "markedly", "slight": "slightly",
    "minimal": "minimally", "massive": "massively", "gross": "grossly",
}  # fmt: skip
_ADJECTIVES = {adverb: adjective for adjective, adverb in _ADVERBS.items()}


def correct_attribute(match: Match, error: str, answer: Reading, truth: Reading) -> Operation | None:
    """Replace the answer's word for a wrong attribute by the reference's; None if one is not said by a word."""
    said, right = match.said, match.truth
    name = "size_mm" if error == "size" else error
    if said is None or right is None or name not in said.at or name not in right.at:
        return None
    if _shared(name, said) or _shared(name, right):
        return None
    start, end = said.at[name]
    old, new = answer.text[start:end], truth.text[slice(*right.at[name])]
    if name == "side" and right.side in ("left", "right") and said.side in ("left", "right"):
        new = old.lower().replace(said.side, right.side)
    elif name == "severity":
        new = _formed_like(old, new)
    return Operation(
        start, end, old, in_case_of(old, new if name == "size_mm" else new.lower()), KINDS[error], match.finding,
        f"rule:{error}", 1.0, right.at[name],
    )  # fmt: skip


def _shared(name: str, fact: Fact) -> bool:
    """True if the word states another attribute too ("bibasilar": both sides, at the base)."""
    place = fact.at[name]
    return any(other != name and other in fact.at and fact.at[other] == place for other in ATTRIBUTES)


def _formed_like(old: str, new: str) -> str:
    """An adverb where an adverb stood ("mildly enlarged"), else an adjective."""
    return _ADVERBS.get(new.lower(), new) if old.lower().endswith("ly") else adjective(new)


def adjective(word: str) -> str:
    """The grade as an adjective: "mild" for "mildly"."""
    return _ADJECTIVES.get(word.lower(), word)
