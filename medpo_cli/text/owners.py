"""Which attribute describes which finding, and one finding that is said to be in two places."""

from collections.abc import Iterator, Sequence

from medpo_cli.text.fact import ATTRIBUTES
from medpo_cli.text.mention import Mention
from medpo_cli.text.scan import Item

_ATTRIBUTES = frozenset(ATTRIBUTES)
_SEPARATORS = frozenset({"joins", "breakers", "negation_before", "uncertain_before"})
_FRONT = frozenset({"on", "in", "at", "in the", "on the", "at the", "within", "within the"})
_STILL = frozenset({"is present", "are present", "is seen with"})
_GOES_ON = frozenset({"with a", "with an", "with the", "(", ")", "[", "]"})
_LISTS = frozenset({",", "and", "and the", "and a", "and an", "as well as"})
_ENDING = frozenset({"breakers", "joins", "negation_before", "negation_after", "uncertain_before"})
_PLACES = frozenset({"side", "location"})
_APART = ("side", "location", "severity", "size_mm", "number")


def give_attributes(mentions: list[Mention], items: list[Item]) -> None:
    """Hand each attribute to the finding it describes; a fronted side holds for all that follow."""
    fronted: Item | None = None
    for item in items:
        if item.part not in _ATTRIBUTES:
            continue
        owner = _owner(item, mentions, items)
        if owner is None or (item.part in _PLACES and _is_of_the_tip(item, owner, items)):
            continue
        for one in (owner, *(_listed(item, owner, mentions, items) if item.part == "change" else ())):
            one.said.append(item)
            one.attributes.setdefault(item.part, item)
        if item.part == "side" and item.end <= mentions[0].start and items[0].part == "prepositions":
            fronted = item if items[0].value in _FRONT else None
    if fronted is not None:
        for mention in mentions:
            if "side" not in mention.attributes:
                mention.attributes["side"] = fronted
                mention.said.append(fronted)


def _listed(item: Item, owner: Mention, mentions: list[Mention], items: list[Item]) -> Iterator[Mention]:
    """The findings listed before ``owner`` that "are unchanged" with it."""
    if item.start < owner.end or not any(
        other.value == "are" and owner.end <= other.start < item.start for other in items
    ):
        return
    last = owner
    for mention in reversed(mentions[: mentions.index(owner)]):
        between = [other for other in items if mention.end <= other.start and other.end <= last.start]
        if not any(other.value in _LISTS for other in between) or any(
            other.part in _ENDING and other.value not in _LISTS for other in between
        ):
            return
        yield mention
        last = mention


def variants(said: Sequence[Item], items: list[Item]) -> list[dict[str, Item]]:
    """The attributes of each place that a finding is said to be in.

    "Small right and moderate left effusions" are two facts, "right and left effusions" one about both
    sides, "bilateral effusions, right greater than left" as well. What is said once holds for all.
    """
    groups: list[dict[str, Item]] = [{}]
    said = _of_sides(said)
    inherited = False
    for item in said:
        if item.part not in _APART:
            continue
        group = groups[-1]
        known = group.get(item.part)
        if known is None or (inherited and item.part == "side"):
            group[item.part] = item
            inherited = inherited and item.part != "side"
        elif known.value != item.value and _joined(known, item, items):
            groups.append({item.part: item})
            inherited = item.part != "side" and "side" in group
            if inherited:
                groups[-1]["side"] = group["side"]
        elif known.value != item.value and item.part == "side":
            group["side"] = _both(known, item)
    return _shared(said, groups)


def _shared(said: Sequence[Item], groups: list[dict[str, Item]]) -> list[dict[str, Item]]:
    """What all groups agree on is in each; groups that differ in nothing but the side are one about both.

    "Left upper and right upper lobe" says the place of each and stays apart, so that each can be corrected.
    """
    shared = {item.part: item for item in reversed(said) if item.part not in _APART}
    for name in _APART:
        values = [group[name] for group in groups if name in group]
        if len({item.value for item in values}) == 1:
            shared[name] = values[0]
            if len(values) == 1 or name == "side":
                for group in groups:
                    group.pop(name, None)
    merged: list[dict[str, Item]] = []
    for group in groups:
        last = merged[-1] if merged else None
        if last is None or set(group) - {"side"} or "side" not in last:
            merged.append(group)
        elif "side" in group and last["side"].value != group["side"].value:
            last["side"] = _both(last["side"], group["side"])
    return [{**shared, **group} for group in merged]


def _both(first: Item, second: Item) -> Item:
    return Item("side", "both", first.start, second.end)


def _of_sides(said: Sequence[Item]) -> list[Item]:
    """Beside "bilateral" a single side tells nothing, unless each side has its own grade or size."""
    sides = {item.value for item in said if item.part == "side"}
    graded = max(len({item.value for item in said if item.part == part}) for part in ("severity", "size_mm"))
    if "both" not in sides or len(sides) == 1:
        return list(said)
    dropped = "both" if len(sides) > 2 and graded > 1 else None
    return [
        item for item in said
        if item.part != "side" or ((item.value != "both") if dropped else (item.value == "both"))
    ]  # fmt: skip


def _joined(first: Item, second: Item, items: list[Item]) -> bool:
    """Whether "and" or a comma stands between two values."""
    between = [other for other in items if first.end <= other.start and other.end <= second.start]
    return any(other.part == "joins" or other.value in _LISTS for other in between)


def _is_of_the_tip(item: Item, owner: Mention, items: list[Item]) -> bool:
    """The place of a device's end: "catheter with its tip in the right atrium"."""
    return any(other.part == "tips" and owner.end <= other.start <= item.start for other in items)


def _owner(item: Item, mentions: list[Mention], items: list[Item]) -> Mention | None:
    """The mention around the attribute, else the one before or after it by what stands between."""
    before = after = None
    for mention in mentions:
        if mention.start <= item.start and item.end <= mention.end:
            return mention
        if mention.end <= item.start:
            before = mention
        elif after is None:
            after = mention
    if before is None or after is None:
        return after if before is None else _unless_broken(before, item, items)
    left = [other for other in items if before.end <= other.start and other.end <= item.start]
    separated = any(other.part in _SEPARATORS for other in left)
    ends = any(other.part in _SEPARATORS for other in items if item.end <= other.start and other.end <= after.start)
    prepositional = bool(left) and any(other.part == "prepositions" for other in left[-3:])
    if any(_ends_statement(other) for other in left):
        return after
    if separated and ends:
        return before if prepositional else after
    if separated:
        return after
    return before if ends or prepositional else after


def _unless_broken(before: Mention, item: Item, items: list[Item]) -> Mention | None:
    """``before``, unless a breaker stands between it and the attribute; "with a basal predominance" is none."""
    between = (other for other in items if before.end <= other.start and other.end <= item.start)
    return None if any(_ends_statement(other) and other.value not in _GOES_ON for other in between) else before


def _ends_statement(item: Item) -> bool:
    """A breaker that no attribute is handed over; "is present in the left lobe" goes on."""
    return item.part == "breakers" and item.value not in _STILL
