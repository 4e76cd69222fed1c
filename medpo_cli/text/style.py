"""How a text phrases its statements, and stating a fact in the same way."""

import re
from collections.abc import Mapping
from typing import Literal

from medpo_cli.text.entries import Statement
from medpo_cli.text.fact import Fact
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import tokens

Style = Literal["sentence", "label", "answer", "fronted", "definite"]
GENERIC: Mapping[str, Statement] = {
    "sentence": Statement(present="There is {a} [{severity} ][{side} ][{place} ]{name}.", absent="No[ {side}] {name}."),
    "label": Statement(present="[{severity} ][{side} ][{location} ]{name}.", absent="No {name}."),
    "answer": Statement(
        present="Yes, there is {a} [{severity} ][{side} ][{place} ]{name}.",
        absent="No, there is no {name}[ on the {side}].",
    ),
    "fronted": Statement(
        present="On the {side} there is {a} [{severity} ]{name}.", absent="On the {side} no {name} is seen."
    ),
}
BOTH: Mapping[str, Statement] = {
    "sentence": Statement(present="There is [{severity} ]bilateral [{place} ]{name}.", absent="No {name} bilaterally."),
    "label": Statement(present="[{severity} ]bilateral [{location} ]{name}.", absent="No bilateral {name}."),
    "answer": Statement(
        present="Yes, there is [{severity} ]bilateral [{place} ]{name}.",
        absent="No, there is no {name} bilaterally.",
    ),
}
_ZONED = frozenset({"upper", "middle", "lower"})
_ARTICLES = frozenset({"a", "an", "the"})
_DENYING = frozenset({"no", "without", "negative", "normal", "clear", "unremarkable", "intact"})
_GROUP = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")
_ANSWER = re.compile(r"(?:yes|no)\s*[,;:.]", re.IGNORECASE)
_FRONTED = re.compile(r"(?:on|in) (?:the )?(?:left|right)\b", re.IGNORECASE)
_DEFINITE = re.compile(r"the\s", re.IGNORECASE)


def style_of(sentence: str, fact: Fact, *, label: bool) -> Style:
    """The style of a sentence that states ``fact``; ``label``: the whole answer is a label file."""
    if _ANSWER.match(sentence):
        return "answer"
    if _FRONTED.match(sentence):
        return "fronted"
    if _DEFINITE.match(sentence) and not fact.normality and fact.status == "present":
        return "definite"
    return "label" if label else "sentence"


def has_verbs(text: str, lexicon: Lexicon) -> bool:
    """True if the text holds a full sentence."""
    return any(token.word in lexicon.verbs for token in tokens(text))


def is_label_file(text: str, lexicon: Lexicon) -> bool:
    """True if there is no verb and no article, and something is stated that is no denial and not normal."""
    if has_verbs(text, lexicon) or any(token.word in _ARTICLES for token in tokens(text)):
        return False
    entries = [{token.word for token in tokens(entry)} for entry in text.split(".")]
    return any(entry and not entry & _DENYING for entry in entries)


def state(
    finding: str,
    status: Literal["present", "absent"],
    style: Style,
    lexicon: Lexicon,
    *,
    side: str | None = None,
    location: str | None = None,
    severity: str | None = None,
) -> str:
    """A statement in the given style; attributes without a value are left out."""
    entry = lexicon.findings[finding]
    both = side == "both"
    wanted = "sentence" if style == "definite" or (style == "fronted" and (side is None or both)) else style
    # the templates of a finding name one side ("in the left lung")
    statement = BOTH[wanted] if both else entry.statements.get(wanted, GENERIC[wanted])
    place = f"{location} {entry.zone}".strip() if location in _ZONED else location
    values = {"side": side, "place": place, "location": location, "severity": severity, "name": entry.name, "a": "{a}"}
    if not entry.article:
        values["a"] = ""
    pattern = statement.present if status == "present" else statement.absent
    text = _FIELD.sub(
        lambda field: values[field.group(1)] or "", _GROUP.sub(lambda group: _choose(group, values), pattern)
    )
    text = re.sub(
        r"\{a\} +(\w)", lambda found: f"{'an' if found.group(1).lower() in 'aeiou' else 'a'} {found.group(1)}", text
    )
    text = re.sub(r" {2,}", " ", text)
    return text[:1].upper() + text[1:]


def _choose(group: re.Match[str], values: Mapping[str, str | None]) -> str:
    """The first alternative of ``[a|b]`` whose placeholders all have a value; else nothing."""
    for option in group.group(1).split("|"):
        if all(values.get(name) for name in _FIELD.findall(option)):
            return option
    return ""


def in_case_of(model: str, word: str) -> str:
    """``word`` with the capitals of ``model``."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word
