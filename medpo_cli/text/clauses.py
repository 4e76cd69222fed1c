"""From the marked words of one sentence to facts: findings with their status and attributes."""

from dataclasses import replace

from medpo_cli.text.fact import Fact, Offsets, Status
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.mention import Mention
from medpo_cli.text.owners import give_attributes, variants
from medpo_cli.text.scan import Item, scan
from medpo_cli.text.scope import cue_before, decide
from medpo_cli.text.subjects import statements

_HEADING_WORDS = 6


def sentence_facts(sentence: str, lexicon: Lexicon, heading: str = "") -> tuple[Fact, ...]:
    """Facts of one sentence, in order; offsets are relative to it.

    Args:
        sentence: its text.
        lexicon: the clinical words.
        heading: the heading that the sentence stands under ("Liver", "Pleural effusion"), if it names an
            organ, a subject or a finding; ends with a colon where other sentences stand between.
    """
    if not heading:
        return _facts(sentence, scan(sentence, lexicon), lexicon)
    prefix = _prefix(heading, sentence, lexicon)
    text = prefix + sentence
    facts = _facts(text, scan(text, lexicon), lexicon)
    return tuple(_behind(fact, len(prefix), len(sentence)) for fact in facts)


def _prefix(heading: str, sentence: str, lexicon: Lexicon) -> str:
    """What of the heading is read along: a finding only before a short value ("None.", "Small, left.")."""
    parts = {item.part for item in scan(heading, lexicon)}
    if "finding" in parts:
        own = {item.part for item in scan(sentence, lexicon)}
        read = not own & {"finding", "subject"} and len(sentence.split()) <= _HEADING_WORDS
        return f"{heading} " if read and not heading.endswith(":") else ""
    return f"{heading} " if parts & {"subject", "organ"} else ""


def _behind(fact: Fact, by: int, length: int) -> Fact:
    """The fact in the sentence without its heading; words of the heading count as the whole sentence."""
    moved = fact.moved(-by)
    at = {name: (start, end) if start >= 0 else (0, max(end, length)) for name, (start, end) in moved.at.items()}
    return replace(moved, sentence=(0, length), at=at)


def _facts(text: str, items: list[Item], lexicon: Lexicon) -> tuple[Fact, ...]:
    if not any(item.part in {"finding", "subject"} for item in items):
        return ()
    mentions, items = _mentions(text, items, lexicon)
    if not mentions:
        return ()
    give_attributes(mentions, items)
    for number, mention in enumerate(mentions):
        decide(mention, mentions, number, items)
    whole = (0, len(text))
    facts: list[Fact] = []
    for mention in mentions:
        if cue_before(mention, mentions, items, "silent") is None:
            groups = variants(mention.said, items)
            for finding in _meant(mention, mentions, items, lexicon):
                facts.extend(_fact(mention, finding, group, whole) for group in groups)
    return tuple(facts)


def _mentions(text: str, items: list[Item], lexicon: Lexicon) -> tuple[list[Mention], list[Item]]:
    """Named findings, and subjects joined with their predicate; used items are removed."""
    stated = statements(text, items, lexicon)
    used = {statement.predicate for statement in stated}
    mentions = [
        Mention((item.value,), item.start, item.end, 0, item.start)
        for item in items
        if item.part == "finding" and (item.start, item.end) not in used
    ]
    for one in stated:
        status: Status = "present" if one.abnormal else "absent"
        mentions.append(
            Mention(
                one.findings, one.start, one.end, one.cue_from, one.predicate[0], True, one.abnormal, status,
                one.predicate,
            )
        )  # fmt: skip
    mentions.sort(key=lambda mention: mention.start)
    kept = [item for item in items if item.part == "predicate" or (item.start, item.end) not in used]
    return mentions, kept


def _meant(mention: Mention, mentions: list[Mention], items: list[Item], lexicon: Lexicon) -> tuple[str, ...]:
    """What the words mean beside the organs of the sentence, the nearest first; nothing if that is needed.

    The organ of another finding tells only what a generic word is: "no pleural effusion or nodule" is about the
    lung, "renal stones and a cyst" about the kidney.
    """
    entry = None if mention.normality else lexicon.findings[mention.findings[0]]
    if entry is None or not (entry.elsewhere or entry.generic):
        return mention.findings
    organs = [item for item in items if item.part == "organ"]
    own = {item.value for item in organs if mention.start <= item.start and item.end <= mention.end}
    if own and not own & entry.elsewhere.keys():
        return mention.findings
    organs = [item for item in organs if item.value in entry.elsewhere]
    if not entry.generic:
        organs = [item for item in organs if not _is_of_another(item, mention, mentions)]
    if organs:
        nearest = min(organs, key=lambda item: max(item.start - mention.end, mention.start - item.end))
        return (entry.elsewhere[nearest.value],)
    return () if entry.generic else mention.findings


def _is_of_another(item: Item, mention: Mention, mentions: list[Mention]) -> bool:
    return any(
        other is not mention and not other.normality and other.start <= item.start and item.end <= other.end
        for other in mentions
    )


def _fact(mention: Mention, finding: str, attributes: dict[str, Item], sentence: Offsets) -> Fact:
    if mention.normality and mention.status == "absent" and "side" in attributes and attributes["side"].value == "both":
        attributes = {name: item for name, item in attributes.items() if name != "side"}  # "both lungs are clear"
    at: dict[str, Offsets] = {"finding": (mention.start, mention.end)}
    if mention.status_at is not None:
        at["status"] = mention.status_at
    at.update({name: (item.start, item.end) for name, item in attributes.items()})
    values = {name: item.value for name, item in attributes.items()}
    size = values.pop("size_mm", None)
    return Fact(
        finding, mention.status, sentence, size_mm=None if size is None else float(size), normality=mention.normality,
        at=at, **values,
    )  # fmt: skip
