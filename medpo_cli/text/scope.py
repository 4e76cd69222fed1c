"""How far a cue of negation or doubt reaches, and what it makes of a finding."""

from medpo_cli.text.mention import Mention
from medpo_cli.text.scan import Item

_BETWEEN_TWO = frozenset({"versus", "vs"})


def decide(mention: Mention, mentions: list[Mention], number: int, items: list[Item]) -> None:
    """Set the status from the cues that reach the mention."""
    negation = cue_before(mention, mentions, items, "negation_before")
    doubt = cue_before(mention, mentions, items, "uncertain_before")
    denied = _cue_after(mention, mentions, number, items, "negation_after")
    doubted = _cue_after(mention, mentions, number, items, "uncertain_after")
    if doubted is not None:
        mention.status, mention.status_at = "uncertain", (doubted.start, doubted.end)
    elif negation is not None or denied is not None:
        cue = negation or denied
        assert cue is not None  # noqa: S101 - for the type checker
        mention.status = "present" if mention.normality and not mention.abnormal else "absent"
        mention.status_at = (cue.start, cue.end)
    elif doubt is not None:
        mention.status, mention.status_at = "uncertain", (doubt.start, doubt.end)


def cue_before(mention: Mention, mentions: list[Mention], items: list[Item], part: str) -> Item | None:
    """The last cue of ``part`` before the mention that still reaches it."""
    cues = [
        item for item in items if item.part == part and mention.cue_from <= item.start and item.end <= mention.cue_to
    ]
    return cues[-1] if cues and _reaches(cues[-1], mention, mentions, items) else None


def _reaches(cue: Item, mention: Mention, mentions: list[Mention], items: list[Item]) -> bool:
    """False behind a breaker, behind a full statement, or where a list has turned positive.

    "No effusion or small pneumothorax" is one list; "No effusion, small pneumothorax" is two statements.
    """
    between = [item for item in items if cue.end <= item.start and item.end <= mention.cue_to]
    if any(item.part == "breakers" for item in between):
        return False
    if any(other.normality and cue.end <= other.start < mention.start for other in mentions):
        return False
    joins = [item for item in between if item.part == "joins"]
    if not joins or any(item.value in {"or", "nor"} for item in joins):
        return True
    own = [mention.attributes[name] for name in ("severity", "size_mm") if name in mention.attributes]
    if not any(item.start >= joins[-1].end for item in own):
        return True
    return _or_follows(mention, items)


def _or_follows(mention: Mention, items: list[Item]) -> bool:
    """True if the list goes on to an "or" after the mention."""
    for item in items:
        if item.start >= mention.end:
            if item.part == "breakers":
                return False
            if item.part == "joins" and item.value in {"or", "nor"}:
                return True
    return False


def _cue_after(mention: Mention, mentions: list[Mention], number: int, items: list[Item], part: str) -> Item | None:
    """The first cue of ``part`` after the mention, if only a list stands between."""
    following = mentions[number + 1 :]
    for item in items:
        if item.start < mention.end:
            continue
        if item.part == "breakers" and item.value not in {"is present", "are present"}:
            return None
        if item.part == part and not _belongs_to_next(item, following, items):
            crossed = [other for other in following if other.start < item.start]
            joined = any(
                other.part == "joins" and other.value in {"or", "and", "nor"}
                for other in items
                if mention.end <= other.start < item.start
            )
            return item if not crossed or joined else None
    return None


def _belongs_to_next(cue: Item, following: list[Mention], items: list[Item]) -> bool:
    """A cue that doubts what follows it where something does: "opacity is likely atelectasis"."""
    both = any(other.part.endswith("_before") and other[2:] == cue[2:] for other in items)
    if not both or cue.value in _BETWEEN_TWO:
        return False
    ends = min((item.start for item in items if item.part == "breakers" and item.start >= cue.end), default=None)
    return any(mention.start >= cue.end and (ends is None or mention.start < ends) for mention in following)
