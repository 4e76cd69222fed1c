"""Whether a text is made of well-formed statements, as far as can be told without grammar."""

import re
from collections.abc import Collection

_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_DOUBLED = re.compile(r"\b(\w+) \1\b(?! \d)", re.IGNORECASE)
_DETERMINERS = re.compile(
    r"\b(?:the|a|an|no|each|both|either) (?:a|an|the|no|both|either|multiple|several|two|three|four|bilateral lungs)\b",
    re.IGNORECASE,
)
_SPACES = re.compile(r" {2,}| [,.;:]|[,;:][,.;:]|\.\.|[,;][^\W\d]|^\s*[,;]")
_DANGLING = re.compile(r"\b(?:and|or|nor|with|without|no|the|an?|of|in|at|on|is|are|to)[.,;]", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(an?) ([\w-]+)", re.IGNORECASE)
_VOWEL = re.compile(r"[aeiou]|8|11\b|18\b", re.IGNORECASE)
_CONSONANT_SOUND = re.compile(r"one|uni|use|eu", re.IGNORECASE)
_STARTS = re.compile(r"(?:^|[.!?]\s+|\n\s*(?:[-*•]\s+)?)([^\W\d_])")


def words(text: str) -> set[str]:
    """Lower-case words of a text, hyphenated ones whole and in parts."""
    found = {word.lower() for word in _WORD.findall(text)}
    return found | {part for word in found for part in re.split(r"[-'’]", word)}


def faults(text: str, known: Collection[str]) -> list[str]:
    """What is wrong with a text; ``known``: words that may occur (so that no two are glued together)."""
    found = [f"unknown word {word}" for word in sorted(words(text)) if word not in known]
    for name, pattern in (
        ("doubled", _DOUBLED),
        ("determiners", _DETERMINERS),
        ("spacing", _SPACES),
        ("dangling", _DANGLING),
    ):
        found += [f"{name}: {hit.group()!r}" for hit in pattern.finditer(text)]
    for hit in _ARTICLE.finditer(text):
        vowel = bool(_VOWEL.match(hit.group(2))) and not _CONSONANT_SOUND.match(hit.group(2))
        if vowel != (hit.group(1).lower() == "an") and len(hit.group(2)) > 1:
            found.append(f"article: {hit.group()!r}")
    found += [f"capital: {hit.group()!r}" for hit in _STARTS.finditer(text) if hit.group(1).islower()]
    return found
