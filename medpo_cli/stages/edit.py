"""The ``edit`` stage: samples in, preference pairs (or rankings) out, by rules and with proof."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import Checks, Editor, Pair, Ranking, Sample, Span
from medpo_cli.stages import rank
from medpo_cli.stages.audit import Desk
from medpo_cli.stages.propose import Counsel, ahead
from medpo_cli.stages.proposers import open_proposer
from medpo_cli.text import edits
from medpo_cli.text.comparison import Comparison, contradictory, meaning
from medpo_cli.text.counterfactuals import candidates
from medpo_cli.text.draw import Balance, Candidate, Draw
from medpo_cli.text.lexicon import Lexicon, load_lexicon
from medpo_cli.text.operations import Edited, Operation, apply
from medpo_cli.text.ties import tied
from medpo_cli.text.truth import Question, Reading, ask, confirmed, difference, read
from medpo_cli.text.verify import changed_findings, check_answer, verify
from medpo_cli.text.words import nfc

_ID_LENGTH = 200
_Origin = Literal["corrected", "counterfactual"]


def run(records: Iterable[Sample], config: EditConfig, context: Context) -> Iterator[Pair | Ranking]:
    """Turn the policy's answers into pairs of the answer and its minimal edit.

    A wrong answer is corrected (rejected = what the policy said), a right one is made wrong in one
    thing (chosen = what the policy said). With ``config.balance`` a corrected answer gives a second
    pair, in which one of its right statements is made wrong. Equal answers of a sample count once.
    Kinds of counterfactuals are balanced over the whole stream: a resumed run must read it from the start.
    With ``config.emit = "ranking"`` the answers become rankings instead (``stages.rank``).

    Args:
        records: samples; each needs a reference.
        config: settings.
        context: reject sink and progress. Codes: ``no-reference``, ``no-answer``, ``language``,
            ``reference-contradiction``, ``no-edit``, ``normality-cap`` and those of ``text.verify``.
    """
    if config.emit == "ranking":
        yield from rank.run(records, config, context)
        return
    stage, desk = _Stage(config), Desk(config, context)
    context.progress.start("edit", context.expected)
    for answers in ahead(map(stage.answers(context), records), _Answer.consult, stage.parallel):
        if answers:
            yield from desk.passed(answers[0].case.id, stage.pairs(answers, context))
        context.progress.advance()
    desk.close()


class _Stage:
    """Lexicon, editor and the running balance of one run."""

    def __init__(self, config: EditConfig) -> None:
        self.config = config
        self.lexicon: Lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)
        self.balance = Balance(config.normality_cap)
        proposer = open_proposer(config)
        self.counsel = None if proposer is None else Counsel(proposer)
        self.parallel = config.jobs if proposer is not None and proposer.parallel else 1
        version = edits.VERSION + (f"+{self.counsel.version}" if self.counsel else "")
        digest = hashlib.sha256(f"{config.editor}\0{version}\0{self.lexicon.digest}".encode()).hexdigest()
        self.editor = Editor(name=config.editor, version=version, digest=digest, seed=config.seed)

    def answers(self, context: Context) -> "Callable[[Sample], list[_Answer]]":
        """Opens the answers of a sample that can be read; the others are rejected."""
        return lambda sample: list(self._answers(sample, context))

    def _answers(self, sample: Sample, context: Context) -> "Iterator[_Answer]":
        if not (sample.reference or "").strip():
            context.reject(sample.id, RecordError("no-reference", "the sample has no reference", "$.reference"))
            return
        seen: set[str] = set()
        for index, response in enumerate(sample.responses):
            text = nfc(response.text)
            if text in seen:
                continue
            seen.add(text)
            try:
                yield _Answer(self, sample, index, text)
            except RecordError as error:
                context.reject(sample.id, _at_response(error, index))

    def pairs(self, answers: "Iterable[_Answer]", context: Context) -> Iterator[Pair]:
        """The pairs of all answers of one sample."""
        for answer in answers:
            try:
                pairs = answer.pairs()
            except RecordError as error:
                context.reject(answer.case.id, _at_response(error, answer.index))
                continue
            yield from pairs


class _Answer:
    """One answer of a sample on its way to pairs."""

    def __init__(self, stage: _Stage, sample: Sample, index: int, text: str) -> None:
        self.stage, self.case, self.index = stage, sample, index
        self.made = 0
        check_answer(text)
        reference = nfc(sample.reference or "")
        self.question: Question = ask(sample.prompt, sample.task, stage.lexicon)
        self.truth: Reading = read(reference, self.question, stage.lexicon)
        if contradictory(self.truth.facts):
            raise RecordError("reference-contradiction", "the reference contradicts itself", "$.reference")
        self.answer: Reading = read(text, self.question, stage.lexicon)
        self.draw = Draw(stage.config.seed, sample.id, index)
        self.advised: Edited | None = None
        self.preferred: Candidate | None = None

    def consult(self) -> None:
        """Ask the language model, if there is one; may run in a thread, since nothing else depends on it."""
        counsel = self.stage.counsel
        if counsel is None:
            return
        prompt, answer, lexicon = self.case.prompt, self.answer, self.stage.lexicon
        comparison, distance = difference(answer, self.truth)
        if distance:
            self.advised = counsel.corrections(prompt, answer.text, self.truth.text, self.labelled)
        elif confirmed(answer, self.truth, comparison):
            found = candidates(answer, self.truth, self.question, comparison, lexicon, self.draw)
            if found:
                self.preferred = found[counsel.choice(prompt, answer.text, [one.operations for one in found])]

    def labelled(self, edited: Edited) -> Edited:
        """A model's edit with the findings that each operation changes.

        Raises:
            RecordError: with the code of the check that the pair fails.
        """
        operations = [replace(one, label=self.changed_by(one)) for one in edited.operations]
        made = replace(edited, operations=tuple(operations))
        self.verified(made, "corrected")
        return made

    def changed_by(self, operation: Operation) -> str | None:
        """Findings about which the answer says something else after one operation."""
        after = read(apply(self.answer.text, [operation]).after, self.question, self.stage.lexicon)
        return "+".join(sorted(filter(None, changed_findings(after, self.answer)))) or None

    def pairs(self) -> list[Pair]:
        """Corrected pair and its protection, or counterfactuals."""
        comparison, distance = difference(self.answer, self.truth)
        if distance:
            return self.corrected(comparison)
        if not confirmed(self.answer, self.truth, comparison):
            raise RecordError("no-edit", "nothing in the answer is settled by the reference")
        return self.counterfactuals(self.answer, self.stage.config.per_sample, "chosen")

    def corrected(self, comparison: Comparison) -> list[Pair]:
        """The corrected pair, and with ``balance`` one that protects a statement that was right."""
        lexicon = self.stage.lexicon
        edited = self.advised
        if edited is None:
            operations = edits.corrections(self.answer, self.truth, self.question, comparison, lexicon)
            edited = apply(self.answer.text, operations)
        if not edited.operations:
            raise RecordError("no-edit", "no rule corrects this answer")
        pair = self.pair(edited, "corrected", "rejected")
        if not self.stage.config.balance:
            return [pair]
        after = read(edited.after, self.question, lexicon)
        new = set(meaning(after.facts) - meaning(self.answer.facts))
        return [pair] if after.bare else [pair, *self.counterfactuals(after, 1, None, new)]

    def counterfactuals(
        self, answer: Reading, wanted: int, on_policy: Literal["chosen"] | None, corrected: Collection[object] = ()
    ) -> list[Pair]:
        """Up to ``wanted`` pairs, rarest kind first; never of a statement that was corrected.

        Raises:
            RecordError: a right answer gave none (one that protects a corrected answer may be missing).
        """
        comparison, _ = difference(answer, self.truth)
        found = candidates(answer, self.truth, self.question, comparison, self.stage.lexicon, self.draw)
        kept = [candidate for candidate in found if candidate.operations and candidate.fact not in corrected]
        ordered = self.stage.balance.order(kept, self.draw)
        if on_policy is not None and self.preferred in ordered:
            ordered.insert(0, ordered.pop(ordered.index(self.preferred)))
        pairs: list[Pair] = []
        refusal = _refusal(found, ordered)
        while ordered and len(pairs) < wanted:
            candidate = ordered.pop(0)
            try:
                pairs.append(self.pair(apply(answer.text, candidate.operations), "counterfactual", on_policy))
            except RecordError as error:
                refusal = error
                continue
            self.stage.balance.count(candidate)
            ordered = self.stage.balance.order(ordered, self.draw)
        if not pairs and on_policy is not None:
            raise refusal
        return pairs

    def pair(self, edited: Edited, origin: _Origin, on_policy: Literal["chosen", "rejected"] | None) -> Pair:
        """Verify an edit and put it into a record.

        Raises:
            RecordError: with the code of the check that failed.
        """
        chosen, rejected, spans, checks = self.verified(edited, origin)
        return self.record(chosen, rejected, spans, checks, origin, on_policy)

    def verified(self, edited: Edited, origin: _Origin) -> tuple[str, str, list[Span], Checks]:
        """Both sides with spans and measures; raises RecordError with the code of the check that failed."""
        corrected = origin == "corrected"
        spans = edited.spans(chosen_is_after=corrected)
        chosen, rejected = (edited.after, edited.before) if corrected else (edited.before, edited.after)
        return chosen, rejected, spans, verify(chosen, rejected, spans, self.truth, self.question, self.stage.lexicon)

    def record(
        self, chosen: str, rejected: str, spans: list[Span], checks: Checks, origin: _Origin,
        on_policy: Literal["chosen", "rejected"] | None,
    ) -> Pair:  # fmt: skip
        """The pair with everything that the case carried."""
        case = self.case
        number, self.made = self.made, self.made + 1
        spans = tied(spans, case.regions, chosen, self.stage.lexicon) if case.regions else spans
        return Pair(
            id=pair_id(case.id, self.index, number), image=case.image, prompt=case.prompt, reference=self.truth.text,
            task=case.task, group=case.group, regions=case.regions, corrupted=case.corrupted, control=case.control,
            ext=case.ext, policy=case.policy, chosen=chosen, rejected=rejected, origin=origin, on_policy=on_policy,
            spans=spans, editor=self.stage.editor, checks=checks,
        )  # fmt: skip


def _at_response(error: RecordError, index: int) -> RecordError:
    return RecordError(error.reason, error.message, error.path or f"$.responses[{index}].text")


def pair_id(sample: str, index: int, number: int) -> str:
    """``<sample>.<response>.<n>``; a sample id too long for that is cut and marked with its hash."""
    tail = f".{index}.{number}"
    if len(sample) + len(tail) > _ID_LENGTH:
        mark = hashlib.blake2b(sample.encode(), digest_size=8).hexdigest()
        sample = f"{sample[: _ID_LENGTH - len(tail) - len(mark) - 1]}-{mark}"
    return sample + tail


def _refusal(found: list[Candidate], ordered: list[Candidate]) -> RecordError:
    if found and not ordered:
        return RecordError("normality-cap", "only a normality edit is possible, and their share is reached")
    return RecordError("no-edit", "no rule makes this answer wrong in one thing")
