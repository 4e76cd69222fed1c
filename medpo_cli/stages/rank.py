"""``edit --emit ranking``: all answers of a sample with rewards, for the objectives that learn from lists."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, Ranked, Ranking, Response, Sample
from medpo_cli.text.boxes import boxes
from medpo_cli.text.comparison import contradictory
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.rewards import reward
from medpo_cli.text.truth import ask, read
from medpo_cli.text.verify import check_answer
from medpo_cli.text.words import nfc


def run(records: Iterable[Sample], config: EditConfig, context: Context) -> Iterator[Ranking]:
    """Turn each sample into a ranking of its distinct answers, in the order they were drawn.

    Where every answer that is kept ended by itself and has a log-probability, ``ext.align.old_logprobs``
    holds those (P3O).

    Args:
        records: samples with at least two answers; each needs a reference.
        config: settings (``reward``, ``lexicon``).
        context: reject sink and progress. Codes: ``no-reference``, ``reference-contradiction``,
            ``no-boxes``, ``one-answer``, ``no-signal``, ``extras-malformed``; for a single answer, which is left out:
            ``no-answer``, ``language`` and those of ``text.verify.check_text``.
    """
    ranker = _Ranker(config, context)
    context.progress.start("edit")
    for sample in records:
        try:
            made = ranker.ranking(sample)
        except RecordError as error:
            context.reject(sample.id, error)
        else:
            yield made
        context.progress.advance()


class _Ranker:
    """Lexicon and settings of one run."""

    def __init__(self, config: EditConfig, context: Context) -> None:
        self.kind, self.context = config.reward, context
        self.lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)

    def ranking(self, sample: Sample) -> Ranking:
        """The sample's answers with rewards; raises RecordError where they say nothing about preferences."""
        reference = nfc(sample.reference or "") if self.kind != "box-iou" else _with_boxes(sample)
        if not reference.strip():
            raise RecordError("no-reference", "the sample has no reference", "$.reference")
        question = ask(sample.prompt, sample.task, self.lexicon)
        truth = read(reference, question, self.lexicon)
        if self.kind == "facts" and contradictory(truth.facts):
            raise RecordError("reference-contradiction", "the reference contradicts itself", "$.reference")
        kept = self._distinct(sample)
        if len(kept) < 2:
            raise RecordError("one-answer", "fewer than two different answers to rank", "$.responses")
        readings = (read(text, question, self.lexicon) for text in kept)
        answers = [
            Ranked(text=said.text, reward=reward(self.kind, said, truth, question, self.lexicon)) for said in readings
        ]
        if len({answer.reward for answer in answers}) == 1:
            raise RecordError("no-signal", "all rewards are equal", "$.responses")
        fields = {name: getattr(sample, name) for name in Case.__struct_fields__}
        fields |= {"reference": reference, "ext": _with_logprobs(sample, list(kept.values()))}
        return Ranking(**fields, policy=sample.policy, responses=answers)

    def _distinct(self, sample: Sample) -> dict[str, Response]:
        """Usable answers by their text in normal form C; the first of equal ones counts."""
        found: dict[str, Response] = {}
        for index, response in enumerate(sample.responses):
            text = nfc(response.text)
            try:
                self._check(text)
            except RecordError as error:
                self.context.reject(sample.id, RecordError(error.reason, error.message, f"$.responses[{index}].text"))
                continue
            found.setdefault(text, response)
        return found

    def _check(self, text: str) -> None:
        """Letters can be compared in any text; facts are read only in what ``edit`` accepts."""
        if self.kind == "facts":
            check_answer(text)
        elif not text.strip():
            raise RecordError("no-answer", "the answer is empty")


def _with_boxes(sample: Sample) -> str:
    """The reference if it names boxes, else the boxes of the sample's regions in pixels.

    Raises:
        RecordError: ``no-boxes`` if neither names one.
    """
    reference = nfc(sample.reference or "")
    if boxes(reference):
        return reference
    found = [region.box for region in sample.regions or [] if region.box is not None]
    if not found:
        raise RecordError("no-boxes", "neither the reference nor a region has a box", "$.reference")
    return " ".join(f"[{', '.join(f'{edge:g}' for edge in box)}]" for box in found)


def _with_logprobs(sample: Sample, kept: list[Response]) -> dict[str, Any] | None:
    """``ext`` with the log-probabilities that the answers were drawn at, if all are known and whole."""
    drawn = [response.logprob for response in kept if response.finish == "stop" and response.logprob is not None]
    if len(drawn) < len(kept):
        return sample.ext
    extras(sample)
    ext = sample.ext or {}
    return {**ext, "align": {**ext.get("align", {}), "old_logprobs": drawn}}
