"""``edit --emit ranking``: all answers of a sample with rewards, for the objectives that learn from lists."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, Ranked, Ranking, Response, Sample
from medpo_cli.stages.places import box_scorer
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
        records: samples with at least two answers; each needs a reference (for boxes: or a region).
        config: settings (``reward``, ``box_unit``, ``lexicon``).
        context: reject sink, progress and root. Codes: ``no-reference``, ``reference-contradiction``,
            ``no-boxes``, ``one-answer``, ``no-signal``, ``extras-malformed``, those of image and mask; for a
            single answer, which is left out: ``no-answer``, ``language`` and those of ``text.verify.check_text``.
    """
    ranker = _Ranker(config, context)
    context.progress.start("edit", context.expected)
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
        self.config, self.kind, self.context = config, config.reward, context
        self.lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)

    def ranking(self, sample: Sample) -> Ranking:
        """The sample's answers with rewards; raises RecordError where they say nothing about preferences."""
        score = self._scorer(sample)
        kept = self._distinct(sample)
        if len(kept) < 2:
            raise RecordError("one-answer", "fewer than two different answers to rank", "$.responses")
        answers = [Ranked(text=text, reward=score(text)) for text in kept]
        if len({answer.reward for answer in answers}) == 1:
            raise RecordError("no-signal", "all rewards are equal", "$.responses")
        fields = {name: getattr(sample, name) for name in Case.__struct_fields__}
        reference = None if sample.reference is None else nfc(sample.reference)
        fields |= {"reference": reference, "ext": _with_logprobs(sample, list(kept.values()))}
        return Ranking(**fields, policy=sample.policy, responses=answers)

    def _scorer(self, sample: Sample) -> Callable[[str], float]:
        """The reward of an answer to the sample; raises RecordError where there is nothing to compare with."""
        if self.kind == "box-iou":
            return box_scorer(sample, self.config.box_unit, self.lexicon, self.context)
        kind, lexicon, reference = self.kind, self.lexicon, nfc(sample.reference or "")
        if not reference.strip():
            raise RecordError("no-reference", "the sample has no reference", "$.reference")
        question = ask(sample.prompt, sample.task, lexicon)
        truth = read(reference, question, lexicon)
        if kind == "facts" and contradictory(truth.facts):
            raise RecordError("reference-contradiction", "the reference contradicts itself", "$.reference")
        return lambda answer: reward(kind, read(answer, question, lexicon), truth, question, lexicon)

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


def _with_logprobs(sample: Sample, kept: list[Response]) -> dict[str, Any] | None:
    """``ext`` with the log-probabilities that the answers were drawn at, if all are known and whole."""
    drawn = [response.logprob for response in kept if response.finish == "stop" and response.logprob is not None]
    if len(drawn) < len(kept):
        return sample.ext
    extras(sample)
    ext = sample.ext or {}
    return {**ext, "align": {**ext.get("align", {}), "old_logprobs": drawn}}
