"""Making a right answer wrong in one thing: the candidates, and an even choice among kinds of error."""

import re
from collections.abc import Iterator, Sequence

from medpo_cli.text.clauses import sentence_facts
from medpo_cli.text.comparison import Comparison, Match
from medpo_cli.text.draw import Candidate, Draw
from medpo_cli.text.edits import flip_answer
from medpo_cli.text.fact import Fact
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.lists import without
from medpo_cli.text.operations import Operation
from medpo_cli.text.scribe import statement_kind
from medpo_cli.text.style import Style, in_case_of, is_label_file, state, style_of
from medpo_cli.text.swaps import swaps
from medpo_cli.text.truth import Question, Reading

_LISTED = 0.9
_UNFINISHED = re.compile(
    r"(?:^|\b(?:is|are|was|were|be|appears?|remains?|seen|noted|and|or|of|in|on|the|an?))$", re.IGNORECASE
)


def candidates(
    answer: Reading, truth: Reading, question: Question, comparison: Comparison, lexicon: Lexicon, draw: Draw
) -> list[Candidate]:
    """Every way the rules know to make one confirmed statement of the answer wrong."""
    if answer.bare:
        return list(_bare(answer, truth, question, lexicon, draw))
    found: list[Candidate] = []
    label = is_label_file(answer.text, lexicon)
    for match in comparison.right:
        fact = match.said
        if fact is None or fact.status == "uncertain" or match.truth is None:
            continue
        found.extend(swaps(match, answer, question, lexicon, draw))
        found.extend(_status(match, answer, question, lexicon, draw, label))
    if not found and answer.said is not None and answer.said == truth.said and not answer.facts:
        found.append(Candidate("answer", tuple(flip_answer(answer.text, None, "rule:swap-answer", None))))
    return found


def _status(
    match: Match, answer: Reading, question: Question, lexicon: Lexicon, draw: Draw, label: bool
) -> Iterator[Candidate]:
    """Deny what is present, or make up what is absent; a list of denials is split for it."""
    fact, truth = match.said, match.truth
    if fact is None or truth is None:
        return
    group = [other for other in answer.facts if other.sentence == fact.sentence]
    quote = answer.text[slice(*fact.sentence)]
    style = style_of(quote, fact, label=label)
    repeated = any(other.finding == fact.finding and other is not fact for other in answer.facts)
    if style == "definite" or (repeated and style != "fronted"):
        return
    rest = _rest(fact, quote, group, style, lexicon)
    if rest is None:
        return
    said = _opposite(fact, style, question, lexicon, draw)
    text = " ".join(filter(None, (said, rest) if len(group) > 1 and group[0] is fact else (rest, said)))
    kind = statement_kind(match, quote)
    bucket = f"{kind}-{'drop' if fact.status == 'present' else 'add'}"
    operation = Operation(
        *fact.sentence, quote, text if quote[-1:] in ".!?" else text.removesuffix("."), kind, fact.finding,
        f"rule:swap-{bucket}", 1.0 if len(group) == 1 else _LISTED, truth.sentence,
    )  # fmt: skip
    yield Candidate(bucket, (operation,), fact.key)


def _rest(fact: Fact, quote: str, group: Sequence[Fact], style: Style, lexicon: Lexicon) -> str | None:
    """What stays of the sentence when one of its statements is said otherwise; None: it cannot be parted."""
    others = [other for other in group if other is not fact]
    if not others:
        return _clause_before(fact, quote, lexicon) if style in ("sentence", "label") else ""
    if style not in ("sentence", "label"):
        return None
    rest = without(quote, [fact.finding], lexicon)
    if rest is None and all(other.status == "absent" for other in group):
        return " ".join(dict.fromkeys(_denied(other, style, lexicon) for other in others))
    return rest


def _clause_before(fact: Fact, quote: str, lexicon: Lexicon) -> str:
    """A clause of its own before a "without": "Stable appearance without effusion"."""
    cue = fact.at.get("status", fact.sentence)[0] - fact.sentence[0]
    clause = quote[:cue].rstrip(" ,")
    if not quote[cue:].lower().startswith("with") or _UNFINISHED.search(clause) or sentence_facts(clause, lexicon):
        return ""
    return f"{clause}."


def _denied(fact: Fact, style: Style, lexicon: Lexicon) -> str:
    return state(fact.finding, "absent", style, lexicon, side=fact.side)


def _opposite(fact: Fact, style: Style, question: Question, lexicon: Lexicon, draw: Draw) -> str:
    """A denial for a presence; for an absence a made-up finding with attributes drawn by seed."""
    if fact.status == "present":
        return state(
            fact.finding, "absent", style, lexicon, side=fact.side if style == "fronted" or _sided(question) else None
        )
    entry = lexicon.findings[fact.finding]
    place = (fact.finding, fact.sentence[0])
    side = fact.side or (draw.one(("left", "right"), "side", *place) if entry.sides else None)
    located = not (style == "answer" and _sided(question))
    return state(
        fact.finding, "present", style, lexicon, side=side,
        location=draw.one(entry.locations, "location", *place) if located else None,
        severity=draw.one(entry.severities, "severity", *place),
    )  # fmt: skip


def _sided(question: Question) -> bool:
    return any(fact.side for fact in question.facts)


def _bare(answer: Reading, truth: Reading, question: Question, lexicon: Lexicon, draw: Draw) -> Iterator[Candidate]:
    """The other of yes and no, or another member of the closed set."""
    label = question.asked[0] if len(question.asked) == 1 else None
    whole = (0, len(truth.text))
    if answer.said is not None:
        yield Candidate("answer", tuple(flip_answer(answer.text, label, "rule:swap-answer", whole)))
        return
    for name, member in answer.members.items():
        if name in truth.members:
            others = [value for value in lexicon.closed_sets[name] if value not in (member.value, "both")]
            other = draw.one(others, "member", name)
            if other is not None:
                old = answer.text[member.start : member.end]
                right = truth.members[name]
                yield Candidate("answer", (
                    Operation(
                        member.start, member.end, old, in_case_of(old, other), "answer", label, "rule:swap-answer",
                        1.0, (right.start, right.end),
                    ),
                ))  # fmt: skip
