"""Texts that are no answer: refusals, loops, placeholders, markup, speech about the model or the task."""

import re

MAX_REPEATS = 3
MAX_LAST_WORD = 30

_PLACEHOLDER = re.compile(
    r"\bX{3,}\b|_{3,}|\[\*\*|\[[A-Z _]{3,}\]|<[A-Za-z/!][^>]*>|<\||\|>|\bas an ai\b|\blanguage model\b"
    r"|\breference report\b|\bground truth\b",
    re.IGNORECASE,
)
_DO = r"(?:interpret|assist|help|provide|analy[sz]e|diagnose|answer|process|fulfil+|comply|give|offer)"
_PICTURE = (
    r"(?:(?:the|this|that|these|any|your|an?) )?(?:attached |provided |medical )?"
    r"(?:images?|pictures?|x-?rays?|scans?|files?)"
)
_UNABLE = r"(?:unable|not able|not allowed) to"
_NOT = rf"(?:can ?not|can['’]?t|could not|couldn['’]t|won['’]t|will not|(?:am|are|['’]m|['’]re) {_UNABLE})"
_REFUSAL = re.compile(
    rf"\b(?:I|we) ?(?:\w+ )?{_NOT} (?:\w+ )?(?:{_DO}|(?:see|view|access|open|read|describe|evaluate) {_PICTURE})\b"
    rf"|^\W*{_UNABLE} (?:{_DO}|view|access|open|read)\b"
    r"|\b(?:I am|I['’]m|we are) (?:very )?sorry\b|^\W*sorry\b|\bI apologi[sz]e\b"
    r"|\bno (?:images?|x-?rays?|scans?) (?:is|are|was|were|has been|have been) "
    r"(?:provided|attached|uploaded|given|shared)\b"
    r"|\bplease (?:provide|upload|attach|share) (?:the|an?|your|more)\b"
    r"|\bI(?: am|['’]m) not a (?:\w+ )?(?:doctor|physician|radiologist|professional)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """The model declines ("I cannot interpret images"), which is not a finding that cannot be made out.

    "I cannot exclude an effusion", "the left base cannot be evaluated" and "unable to assess the apex because of
    rotation" are answers.
    """
    return _REFUSAL.search(text) is not None


def is_placeholder(text: str) -> bool:
    """Holds a mask of a de-identifier, markup, a control token of a model, or speaks of itself or of the task."""
    return _PLACEHOLDER.search(text) is not None


def is_degenerate(text: str) -> bool:
    """A looping answer: its last sentence three times or more, or its last word more than 30 times."""
    parts = [part.strip().lower() for part in re.split(r"[.!?\n]+", text) if part.strip()]
    if parts and parts.count(parts[-1]) >= MAX_REPEATS:
        return True
    words = re.findall(r"\w+", text.lower())
    return bool(words) and words.count(words[-1]) > MAX_LAST_WORD
