"""From the marked words of one sentence to facts: which cue and which attribute belong to which finding."""

from dataclasses import dataclass, field

from medpo_cli.text.fact import ATTRIBUTES, Fact, Offsets, Status
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.scan import Item, scan

_ATTRIBUTES = frozenset(ATTRIBUTES)
_SEPARATORS = frozenset({"joins", "breakers", "negation_before", "uncertain_before"})
_FRONT = frozenset({"on", "in", "at", "in the", "on the", "at the", "within", "within the"})
_STILL = frozenset({"is present", "are present", "is seen with"})
_SUBJECT_REACH = 80


@dataclass(slots=True)
class Mention:
    """A finding in the sentence: its words, where its cues may stand, and what was said of it."""

    findings: tuple[str, ...]
    start: int
    end: int
    cue_from: int
    cue_to: int
    normality: bool = False
    abnormal: bool = True
    status: Status = "present"
    status_at: Offsets | None = None
    attributes: dict[str, Item] = field(default_factory=dict)


def sentence_facts(sentence: str, lexicon: Lexicon) -> tuple[Fact, ...]:
    """Facts of one sentence, in order; offsets are relative to it."""
    items = scan(sentence, lexicon)
    if not any(item.part in {"finding", "subject"} for item in items):
        return ()
    mentions, items = _mentions(items, lexicon)
    if not mentions:
        return ()
    _give_attributes(mentions, items)
    for number, mention in enumerate(mentions):
        _decide(mention, mentions, number, items)
    stated = [mention for mention in mentions if _cue_before(mention, mentions, items, "silent") is None]
    for mention in stated:
        mention.findings = _meant(mention, items, lexicon)
    return tuple(_fact(mention, finding, (0, len(sentence))) for mention in stated for finding in mention.findings)


def _meant(mention: Mention, items: list[Item], lexicon: Lexicon) -> tuple[str, ...]:
    """What the words mean beside the organs of the sentence, the nearest first; nothing if that is needed."""
    entry = None if mention.normality else lexicon.findings[mention.findings[0]]
    if entry is None or not (entry.elsewhere or entry.generic):
        return mention.findings
    organs = [item for item in items if item.part == "organ" and item.value in entry.elsewhere]
    if organs:
        nearest = min(organs, key=lambda item: max(item.start - mention.end, mention.start - item.end))
        return (entry.elsewhere[nearest.value],)
    return () if entry.generic else mention.findings


def _mentions(items: list[Item], lexicon: Lexicon) -> tuple[list[Mention], list[Item]]:
    """Named findings, and subjects joined with their predicate; used items are removed."""
    mentions = [Mention((item.value,), item.start, item.end, 0, item.start) for item in items if item.part == "finding"]
    used: set[Offsets] = set()
    for item in items:
        if item.part == "subject":
            statement = _statement(item, items, lexicon)
            if statement is not None:
                mentions.append(statement[0])
                used.add(statement[1])
    mentions.sort(key=lambda mention: mention.start)
    kept = [item for item in items if item.part == "predicate" or (item.start, item.end) not in used]
    return mentions, kept


def _statement(subject: Item, items: list[Item], lexicon: Lexicon) -> tuple[Mention, Offsets] | None:
    """The subject with the nearest predicate that fits it: after it, or directly before it."""
    entry = lexicon.normality[int(subject.value)]
    after = [item for item in items if item.start >= subject.end]
    for item in after:
        if item.part == "breakers" or item.start - subject.end > _SUBJECT_REACH:
            break
        if item.part == "finding" and any(other.part == "predicate" for other in after):
            break
        if item.part == "predicate" and item.value in {*entry.normal, *entry.abnormal}:
            return _joined(entry.findings, item, subject.start, item.end, item.value in entry.abnormal, subject.end)
    before = [item for item in items if item.part == "predicate" and 0 < subject.start - item.end + 1 <= 2]
    for item in before:
        if item.value in {*entry.normal, *entry.abnormal}:
            return _joined(entry.findings, item, item.start, subject.end, item.value in entry.abnormal, 0)
    return None


def _joined(
    findings: list[str], predicate: Item, start: int, end: int, abnormal: bool, cue_from: int
) -> tuple[Mention, Offsets]:
    offsets = (predicate.start, predicate.end)
    mention = Mention(tuple(findings), start, end, cue_from, predicate.start, True, abnormal)
    mention.status_at = offsets
    mention.status = "present" if abnormal else "absent"
    return mention, offsets


def _give_attributes(mentions: list[Mention], items: list[Item]) -> None:
    """Hand each attribute to the finding it describes; a fronted side holds for all that follow."""
    fronted: Item | None = None
    for item in items:
        if item.part not in _ATTRIBUTES:
            continue
        owner = _owner(item, mentions, items)
        if owner is None:
            continue
        known = owner.attributes.setdefault(item.part, item)
        if item.part == "side" and "both" not in (known.value, item.value) and known.value != item.value:
            owner.attributes["side"] = Item("side", "both", known.start, item.end)
        if item.part == "side" and item.end <= mentions[0].start and items[0].part == "prepositions":
            fronted = item if items[0].value in _FRONT else None
    if fronted is not None:
        for mention in mentions:
            mention.attributes.setdefault("side", fronted)


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
    """``before``, unless a breaker stands between it and the attribute."""
    between = (other for other in items if before.end <= other.start and other.end <= item.start)
    return None if any(_ends_statement(other) for other in between) else before


def _ends_statement(item: Item) -> bool:
    """A breaker that no attribute is handed over; "is present in the left lobe" goes on."""
    return item.part == "breakers" and item.value not in _STILL


def _decide(mention: Mention, mentions: list[Mention], number: int, items: list[Item]) -> None:
    """Set the status from the cues that reach the mention."""
    negation = _cue_before(mention, mentions, items, "negation_before")
    doubt = _cue_before(mention, mentions, items, "uncertain_before")
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


def _cue_before(mention: Mention, mentions: list[Mention], items: list[Item], part: str) -> Item | None:
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
        if item.part == part:
            crossed = [other for other in following if other.start < item.start]
            joined = any(
                other.part == "joins" and other.value in {"or", "and", "nor"}
                for other in items
                if mention.end <= other.start < item.start
            )
            return item if not crossed or joined else None
    return None


def _fact(mention: Mention, finding: str, sentence: Offsets) -> Fact:
    at: dict[str, Offsets] = {"finding": (mention.start, mention.end)}
    if mention.status_at is not None:
        at["status"] = mention.status_at
    values = {name: item.value for name, item in mention.attributes.items()}
    at.update({name: (item.start, item.end) for name, item in mention.attributes.items()})
    return Fact(
        finding,
        mention.status,
        sentence,
        values.get("side"),
        values.get("location"),
        values.get("severity"),
        float(values["size_mm"]) if "size_mm" in values else None,
        values.get("texture"),
        values.get("change"),
        mention.normality,
        at,
        values.get("number"),
        values.get("margin"),
    )
