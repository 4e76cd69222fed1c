"""Turning the polarity of a clause: "does show" and "does not show"."""

import re

_DENIED = re.compile(r"\b(does|do|is|are|was|were|has|have|can)\s+not\b", re.IGNORECASE)
_NO = re.compile(r"\b(there (?:is|are)) no\b", re.IGNORECASE)
_AFFIRMED = re.compile(r"\b(does|do|is|are|was|were|has|have|can)\b(?!\s+(?:not|no)\b)", re.IGNORECASE)


def flip_clause(text: str, start: int) -> tuple[int, int, str] | None:
    """Place and replacement that turn the first clause after ``start``; None if it has no verb to turn."""
    for pattern, turned in ((_DENIED, r"\1"), (_NO, r"\1 a"), (_AFFIRMED, r"\1 not")):
        found = pattern.search(text, start)
        if found is not None:
            if pattern is _AFFIRMED and (article := re.compile(r"there (is|are) an?\b", re.I).search(text, start)):
                return article.start(), article.end(), re.sub(r" an?$", " no", article.group(), flags=re.I)
            return found.start(), found.end(), found.expand(turned)
    return None
