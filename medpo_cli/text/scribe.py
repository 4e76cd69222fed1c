"""Writes what is true into an answer: in the reference's words where they fit, else in the answer's style."""

from collections.abc import Iterator, Sequence
from typing import Literal

from medpo_cli.schema.records import SpanKind
from medpo_cli.text.answers import commitment_at
from medpo_cli.text.attributes import adjective, correct_attribute
from medpo_cli.text.comparison import Match
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.lists import without
from medpo_cli.text.operations import Operation
from medpo_cli.text.scan import scan
from medpo_cli.text.style import Style, has_verbs, is_label_file, state, style_of
from medpo_cli.text.truth import Reading

_STATUS = frozenset({"hallucinated", "omitted", "hedged"})
_LISTED = 0.9
_BEYOND_TEMPLATES = ("size_mm", "number", "margin", "change")


class Scribe:
    """Corrections of one answer from one reference.

    Args:
        answer, truth: the two texts, read.
        lexicon: the clinical words.
        report: the answer is a report, so that made-up findings are taken out, not denied.
    """

    def __init__(self, answer: Reading, truth: Reading, lexicon: Lexicon, *, report: bool = True) -> None:
        self.answer, self.truth, self.lexicon, self.report = answer, truth, lexicon, report
        self.label = is_label_file(answer.text, lexicon)
        self.truth_label = is_label_file(truth.text, lexicon)
        self.verbs = has_verbs(answer.text, lexicon)
        self.like_truth = self.label == self.truth_label or (self.truth_label and not self.verbs)

    def correct(self, sentence: Offsets, group: Sequence[Match]) -> Iterator[Operation]:
        """Operations for one sentence with at least one error."""
        if not any(_STATUS & set(match.errors) for match in group):
            found = [
                correct_attribute(match, error, self.answer, self.truth) for match in group for error in match.errors
            ]
            words = {(one.start, one.end): one for one in found if one is not None}
            spread = self.spread(sentence, group)
            text = self.reworded(sentence, group) if spread or None in found else None
            if text is None:
                yield from () if spread else words.values()
                return
        else:
            text = self.reworded(sentence, group)
        if text is not None:
            yield self.replaced(sentence, group, text)

    def spread(self, sentence: Offsets, group: Sequence[Match]) -> bool:
        """One finding at several places ("the right middle lobe and right upper lobe"): a fact holds the first only."""
        truth = group[0].truth
        if len(group) > 1 or truth is None:
            return False
        texts = (self.answer.text[slice(*sentence)], self.truth.text[slice(*truth.sentence)])
        named = [[item.part for item in scan(text, self.lexicon)] for text in texts]
        return any(parts.count(name) > 1 for parts in named for name in ("side", "location"))

    def replaced(self, sentence: Offsets, group: Sequence[Match], text: str) -> Operation:
        """The sentence replaced by ``text``; a deleted one takes a space along."""
        wrong = next(match for match in group if match.errors)
        quote = self.answer.text[slice(*sentence)]
        return Operation(
            *_with_space(self.answer.text, sentence, text), text, statement_kind(wrong, quote),
            "+".join(sorted({match.finding for match in group if match.errors})), "rule:statement",
            1.0 if len(group) == 1 else _LISTED, wrong.truth.sentence if wrong.truth is not None else None,
        )  # fmt: skip

    def reworded(self, sentence: Offsets, group: Sequence[Match]) -> str | None:
        """What should stand instead of a sentence: nothing, the reference's sentence, or a new one; None: no rule."""
        quote = self.answer.text[slice(*sentence)]
        style = self.style(quote, group[0].said)
        made_up = self.report and all(match.truth is None for match in group)
        if style == "definite" and not made_up and not self.written(group, "sentence"):
            return None
        if len(group) == 1:
            text = self.statement(group[0], style, sentence)
            return None if text is None else _closed_like(quote, text)
        if (written := self.written(group, style)) is not None:
            return _closed_like(quote, written)
        return self.regrouped(quote, sentence, group, style)

    def regrouped(self, quote: str, sentence: Offsets, group: Sequence[Match], style: Style) -> str | None:
        """Of several statements the wrong ones taken out and said anew behind; else all are said anew."""
        wrong = [match for match in group if match.errors]
        if style not in ("sentence", "label"):
            return None
        rest = "" if len(wrong) == len(group) else without(quote, [match.finding for match in wrong], self.lexicon)
        kept: list[str | None] = [rest]
        if rest is None:
            if any(match.said is None or match.said.status != "absent" for match in group if not match.errors):
                return None
            kept = [
                state(match.finding, "absent", style, self.lexicon, side=match.said.side if match.said else None)
                for match in group
                if not match.errors
            ]
        added = [self.statement(match, style) for match in wrong]
        if not any((*kept, *added)):
            added = [self.statement(match, style, sentence) for match in wrong]
        if None in added:
            return None
        ordered = (*added, *kept) if group[0].errors else (*kept, *added)
        return _closed_like(quote, " ".join(dict.fromkeys(filter(None, ordered))))

    def written(self, group: Sequence[Match], style: Style) -> str | None:
        """The reference's sentence, if it speaks of just these findings in this style."""
        truths = [match.truth for match in group if match.truth is not None]
        if len(truths) < len(group) or self.truth.bare or len({fact.sentence for fact in truths}) > 1:
            return None
        place = truths[0].sentence
        if any(
            fact.finding not in {one.finding for one in truths} for fact in self.truth.facts if fact.sentence == place
        ):
            return None
        text = self.truth.text[slice(*place)]
        if style in ("sentence", "label") and not has_verbs(text, self.lexicon):
            if not self.verbs or text.lower().startswith("no "):
                return text
        if style == "label" and any(map(_beyond_templates, truths)):
            return text
        return text if style_of(text, truths[0], label=self.truth_label) == style else None

    def statement(self, match: Match, style: Style, sentence: Offsets | None = None) -> str | None:
        """What is true about one finding; empty if nothing needs to be said, None if the rules cannot say it."""
        truth = match.truth
        if self.repeats(match) or (truth is None and self.report and not self.alone_in_line(sentence)):
            return ""
        if (written := self.written([match], style)) is not None:
            return written
        if truth is not None and truth.status == "uncertain":
            return None
        present: Literal["present", "absent"] = "present" if truth and truth.status == "present" else "absent"
        side = truth.side if truth else (match.said.side if match.said and style in ("fronted", "answer") else None)
        return state(match.finding, present, style, self.lexicon, side=side, **self._words(truth))

    def _words(self, truth: Fact | None) -> dict[str, str | None]:
        at = {} if truth is None else truth.at
        words = {name: self.truth.text[slice(*at[name])].lower() for name in ("location", "severity") if name in at}
        severity = words.get("severity")
        return {"location": words.get("location"), "severity": adjective(severity) if severity else None}

    def repeats(self, match: Match) -> bool:
        """A second statement about a finding that the answer has already stated rightly."""
        others = [fact for fact in self.answer.facts if fact.finding == match.finding and fact is not match.said]
        return match.truth is not None and any(
            fact.status == match.truth.status and fact.side in (match.truth.side, None) for fact in others
        )

    def alone_in_line(self, sentence: Offsets | None) -> bool:
        """Taking the sentence out would leave an empty line, a bare list marker or nothing at all."""
        if sentence is None:
            return False
        text = self.answer.text
        before, after = text[: sentence[0]].rpartition("\n")[2], text[sentence[1] :].partition("\n")[0]
        return not any(mark.isalpha() for mark in before + after)

    def style(self, quote: str, fact: Fact | None) -> Style:
        """The style of a sentence of the answer."""
        return "sentence" if fact is None else style_of(quote, fact, label=self.label)

    def insertions(self, omitted: Sequence[Match]) -> Iterator[Operation]:
        """Add what the answer left out, each sentence of the reference once."""
        told = {match.finding for match in omitted}
        spoken = {fact.finding for fact in self.answer.facts}
        for place in dict.fromkeys(match.truth.sentence for match in omitted if match.truth is not None):
            group = [match for match in omitted if match.truth is not None and match.truth.sentence == place]
            others = {fact.finding for fact in self.truth.facts if fact.sentence == place} - told
            style: Style = "label" if self.label else "sentence"
            fits = self.like_truth or any(_beyond_templates(match.truth) for match in group)
            whole = self.truth.text[slice(*place)] if fits and not others & spoken else None
            texts = [whole] if whole else [self.statement(match, style) for match in group]
            for text, match in zip(texts, group, strict=False):
                if text:
                    yield self.inserted(text, match, group if whole else [match])

    def inserted(self, text: str, match: Match, group: Sequence[Match]) -> Operation:
        """The statement behind the one that precedes it in the reference."""
        assert match.truth is not None  # noqa: S101 - omitted matches have a truth
        at = self.place_for(match.truth)
        label = "+".join(sorted({one.finding for one in group}))
        if at is None:
            first = self.answer.facts[0].sentence[0]
            return Operation(first, first, "", f"{text} ", "finding", label, "rule:insert", 1.0, match.truth.sentence)
        ended = self.answer.text[at - 1 : at] in ".!?"
        added = f" {text}" if ended else f". {text.removesuffix('.')}"
        return Operation(at, at, "", added, "finding", label, "rule:insert", 1.0, match.truth.sentence)

    def place_for(self, fact: Fact) -> int | None:
        """End of the answer's sentence about what the reference says before ``fact``; None: nothing before it."""
        earlier = [other for other in self.truth.facts if other.sentence[0] < fact.sentence[0]]
        for other in reversed(earlier):
            ends = [one.sentence[1] for one in self.answer.facts if one.finding == other.finding]
            if ends:
                return max(ends)
        return None


def statement_kind(match: Match, quote: str) -> SpanKind:
    """Kind of a replaced statement: an answer, a normality statement, or a status."""
    if commitment_at(quote) is not None and quote.lower().startswith(("yes", "no,")):
        return "answer"
    facts = (match.said, match.truth)
    return "normality" if any(fact is not None and fact.normality for fact in facts) else "status"


def _beyond_templates(fact: Fact | None) -> bool:
    """A statement in the answer's style would lose something."""
    return fact is not None and any(getattr(fact, name) is not None for name in _BEYOND_TEMPLATES)


def _closed_like(quote: str, text: str) -> str:
    """``text`` with the final mark of ``quote``, or without one."""
    return text if quote[-1:] in ".!?" else text.removesuffix(".")


def _with_space(text: str, sentence: Offsets, replacement: str) -> tuple[int, int, str]:
    """Place and quote of the sentence; a deletion takes the space before it along, or the one behind."""
    start, end = sentence
    if not replacement and start > 0 and text[start - 1] == " ":
        start -= 1
    elif not replacement and text[end : end + 1] == " ":
        end += 1
    return start, end, text[start:end]
