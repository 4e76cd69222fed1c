"""Which wording of a question to a judge is fair (ZEPO, arXiv 2406.11370), and how far a judge follows places.

Of two answers shown in both orders neither place can be the better one, so a judge that reads them says "first" half
of the time, whatever the answers are. No label is needed. A fair judge can still be wrong.
"""

from collections.abc import Sequence

Replies = Sequence[bool | None]
"""Of one item, its ordered pairs: whether the first answer was preferred; None where no reply was usable."""


def fairness(items: Sequence[Replies]) -> float:
    """Minus the distance of the share of "first" from one half; 0 is best, -.5 worst.

    The share is taken per item and then averaged. A missing reply counts for the place that makes it worse, so that
    silence is not fair; without any item the result is -.5. Of two classes this is ZEPO's measure.
    """
    if not items:
        return -0.5
    low = sum(_share(replies, missing=False) for replies in items) / len(items)
    high = sum(_share(replies, missing=True) for replies in items) / len(items)
    return 0.0 - max(abs(low - 0.5), abs(high - 0.5))


def _share(replies: Replies, *, missing: bool) -> float:
    return sum(missing if reply is None else reply for reply in replies) / len(replies)


def fairest(items: Sequence[Sequence[Replies]]) -> int:
    """The place of the wording with the highest fairness; the first of equals."""
    values = [fairness(replies) for replies in items]
    return values.index(max(values))


def first_share(items: Sequence[Replies]) -> float | None:
    """Share of usable replies that prefer the first answer; None without any."""
    told = [reply for replies in items for reply in replies if reply is not None]
    return sum(told) / len(told) if told else None


def consistent_share(items: Sequence[tuple[bool | None, bool | None]]) -> float | None:
    """Share of pairs with both replies usable in which both orders prefer the same answer; None without any."""
    whole = [(one, other) for one, other in items if one is not None and other is not None]
    return sum(one is not other for one, other in whole) / len(whole) if whole else None
