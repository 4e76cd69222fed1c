"""The rule editor: correct what an answer says wrongly, in the answer's own words.

The whole answer stays; each wrong statement is corrected by the smallest replacement that the rules
know: a word for a wrong attribute, a statement for a wrong status, an inserted sentence for an
omission. ``verify`` decides afterwards whether the result may be used.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from medpo_cli.schema.records import SpanKind
from medpo_cli.text.answers import commitment_at
from medpo_cli.text.comparison import Comparison, Match
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.operations import Operation
from medpo_cli.text.polarity import flip_clause
from medpo_cli.text.style import Style, in_case_of, is_label_file, state, style_of
from medpo_cli.text.truth import Question, Reading

VERSION = "1"
_STATUS = frozenset({"hallucinated", "omitted", "hedged"})
_LISTED = 0.9


def corrections(
    answer: Reading, truth: Reading, question: Question, comparison: Comparison, lexicon: Lexicon
) -> list[Operation]:
    """Operations that make ``answer`` agree with ``truth``; errors without a rule are left."""
    if answer.bare:
        return list(_bare(answer, truth, question))
    if not answer.facts:
        return list(_unknown_finding(answer, truth, question))
    scribe = Scribe(answer, truth, lexicon)
    operations: list[Operation] = []
    for sentence in dict.fromkeys(fact.sentence for fact in answer.facts):
        group = [match for match in comparison.matches if match.said is not None and match.said.sentence == sentence]
        # A report that is silent about a finding denies it; the answer to one question does not.
        settled = question.report or all(match.truth is not None for match in group if match.errors)
        if settled and any(match.errors for match in group):
            operations.extend(scribe.correct(sentence, group))
    if question.report:
        operations.extend(scribe.insert(match) for match in comparison.omitted if match.said is None)
    return operations


class Scribe:
    """Writes statements in the style of one answer, from one reference."""

    def __init__(self, answer: Reading, truth: Reading, lexicon: Lexicon) -> None:
        self.answer, self.truth, self.lexicon = answer, truth, lexicon
        self.label = is_label_file(answer.text, lexicon)
        self.truth_label = is_label_file(truth.text, lexicon)

    def correct(self, sentence: Offsets, group: Sequence[Match]) -> Iterator[Operation]:
        """Operations for one sentence with at least one error."""
        if any(_STATUS & set(match.errors) for match in group):
            yield from self.rewrite(sentence, group)
            return
        for match in group:
            for error in match.errors:
                operation = self.attribute(match, error)
                if operation is not None:
                    yield operation

    def attribute(self, match: Match, error: str) -> Operation | None:
        """Replace the word of a wrong side, location, severity, size or change by the reference's."""
        said, truth = match.said, match.truth
        name = "size_mm" if error == "size" else error
        if said is None or truth is None or name not in said.at or name not in truth.at:
            return None
        start, end = said.at[name]
        old, new = self.answer.text[start:end], self.truth.text[slice(*truth.at[name])]
        if name == "side" and truth.side in ("left", "right") and said.side in ("left", "right"):
            new = old.lower().replace(said.side, truth.side)
        return Operation(
            start, end, old, in_case_of(old, new.lower() if name != "size_mm" else new), _kind(error), match.finding,
            f"rule:{error}", 1.0, truth.at[name],
        )  # fmt: skip

    def rewrite(self, sentence: Offsets, group: Sequence[Match]) -> Iterator[Operation]:
        """State the sentence anew; of several statements only plain denials can be kept."""
        kept = [match for match in group if not match.errors]
        if any(match.said is None or match.said.status != "absent" for match in kept):
            return
        wrong = next(match for match in group if _STATUS & set(match.errors))
        statements = []
        for match in group:
            style = self.style(sentence, match.said)
            if style == "definite" or (len(group) > 1 and style not in ("sentence", "label")):
                return
            if match.errors and match.truth is not None and match.truth.status == "uncertain":
                return
            statements.append(self.statement(match, style))
        quote = self.answer.text[slice(*sentence)]
        text = "" if self.repeats(wrong) and len(group) == 1 else _closed_like(quote, " ".join(statements))
        evidence = wrong.truth.sentence if wrong.truth is not None else None
        label = "+".join(sorted({match.finding for match in group if match.errors}))
        yield Operation(
            *_with_space(self.answer.text, sentence, text), text, statement_kind(wrong, quote), label,
            "rule:statement", 1.0 if len(group) == 1 else _LISTED, evidence,
        )  # fmt: skip

    def repeats(self, match: Match) -> bool:
        """A second statement about a finding that the answer has already stated rightly."""
        others = [fact for fact in self.answer.facts if fact.finding == match.finding and fact is not match.said]
        return match.truth is not None and any(
            fact.status == match.truth.status and fact.side in (match.truth.side, None) for fact in others
        )

    def style(self, sentence: Offsets, fact: Fact | None) -> Style:
        """The style of a sentence of the answer."""
        text = self.answer.text[slice(*sentence)]
        return "sentence" if fact is None else style_of(text, fact, label=self.label)

    def statement(self, match: Match, style: Style) -> str:
        """What is true about the finding of ``match``: the reference's sentence if it fits, else a template."""
        truth = match.truth if match.errors else match.said
        if truth is None or (not match.errors and match.said is not None):
            return state(match.finding, "absent", style, self.lexicon, side=match.said.side if match.said else None)
        alone = all(fact.sentence != truth.sentence or fact is truth for fact in self.truth.facts)
        written = self.truth.text[slice(*truth.sentence)]
        same_style = style_of(written, truth, label=self.truth_label) == style
        if alone and same_style and not self.truth.bare:
            return written
        values = {
            name: self.truth.text[slice(*truth.at[name])].lower()
            for name in ("location", "severity")
            if name in truth.at
        }
        status: Literal["present", "absent"] = "present" if truth.status == "present" else "absent"
        return state(
            match.finding, status, style, self.lexicon, side=truth.side,
            location=values.get("location"), severity=values.get("severity"),
        )  # fmt: skip

    def insert(self, match: Match) -> Operation:
        """Add the statement of an omitted finding behind the one that precedes it in the reference."""
        assert match.truth is not None  # noqa: S101 - omitted matches have a truth
        text = self.statement(match, "label" if self.label else "sentence")
        order = [fact.finding for fact in self.truth.facts]
        earlier = set(order[: order.index(match.finding)])
        places = [fact.sentence for fact in self.answer.facts if fact.finding in earlier]
        at = max(end for _, end in places) if places else self.answer.facts[0].sentence[0]
        added = f" {text}" if places else f"{text} "
        return Operation(at, at, "", added, "finding", match.finding, "rule:insert", 1.0, match.truth.sentence)


def statement_kind(match: Match, quote: str) -> SpanKind:
    """Kind of a replaced statement: an answer, a normality statement, or a status."""
    if commitment_at(quote) is not None and quote.lower().startswith(("yes", "no,")):
        return "answer"
    facts = (match.said, match.truth)
    return "normality" if any(fact is not None and fact.normality for fact in facts) else "status"


def flip_answer(text: str, label: str | None, source: str, evidence: Offsets | None) -> list[Operation]:
    """Turn the yes or no of an answer, and the polarity of the clause behind it."""
    place = commitment_at(text)
    if place is None:
        return []
    word = text[slice(*place)]
    turned = in_case_of(word, "no" if word.lower() == "yes" else "yes")
    operations = [Operation(*place, word, turned, "answer", label, source, 1.0, evidence)]
    clause = flip_clause(text, place[1])
    if clause is not None:
        start, end, new = clause
        operations.append(Operation(start, end, text[start:end], new, "status", label, source, _LISTED, evidence))
    return operations


def _bare(answer: Reading, truth: Reading, question: Question) -> Iterator[Operation]:
    label = question.asked[0] if len(question.asked) == 1 else None
    whole = (0, len(truth.text))
    if answer.said and truth.said:
        if answer.said != truth.said:
            yield from flip_answer(answer.text, label, "rule:yes-no", commitment_at(truth.text) or whole)
        return
    for name, member in answer.members.items():
        right = truth.members.get(name)
        if right is not None and right.value != member.value:
            old = answer.text[member.start : member.end]
            new = in_case_of(old, truth.text[right.start : right.end].lower())
            yield Operation(
                member.start, member.end, old, new, "answer", label, f"rule:{name}", 1.0, (right.start, right.end)
            )


def _unknown_finding(answer: Reading, truth: Reading, question: Question) -> Iterator[Operation]:
    """A closed answer about something that the lexicon does not know: only its polarity is sure."""
    if answer.said and truth.said and answer.said != truth.said:
        yield from flip_answer(answer.text, None, "rule:yes-no", commitment_at(truth.text))


def _kind(error: str) -> SpanKind:
    kinds: dict[str, SpanKind] = {
        "side": "side", "location": "location", "severity": "severity", "size": "size", "change": "change",
    }  # fmt: skip
    return kinds[error]


def _closed_like(quote: str, text: str) -> str:
    """``text`` with the final mark of ``quote``, or without one."""
    marked = quote[-1:] in ".!?"
    return text if marked else text.removesuffix(".")


def _with_space(text: str, sentence: Offsets, replacement: str) -> tuple[int, int, str]:
    """Place and quote of the sentence; a deletion takes the space before it along."""
    start, end = sentence
    if not replacement and start > 0 and text[start - 1] == " ":
        start -= 1
    return start, end, text[start:end]
