"""``medpo eval``: score answers, measure what they depend on, compare, and show it on a page."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

import medpo_cli
from medpo_cli.errors import RecordError, UsageError
from medpo_cli.evaluation.arms import Arms, View, load_arms
from medpo_cli.evaluation.asking import Asked, prepare, score_cases, score_pairs, without_picture
from medpo_cli.evaluation.items import answer_counts, make_score, mean_counts, probe_of
from medpo_cli.evaluation.looking import Looker, opened
from medpo_cli.evaluation.overlap import signature
from medpo_cli.evaluation.page.results import Gallery
from medpo_cli.evaluation.profiles import PROFILES
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, ImageRef, Pair, Sample, Score, Step, Summary
from medpo_cli.stages.grading import graded, with_judge
from medpo_cli.stages.judge import open_judge
from medpo_cli.stages.report_metrics import ReportMetrics
from medpo_cli.text.lexicon import Lexicon, load_lexicon

OpenArms = Callable[[EvalConfig], Arms]

_CHUNK = 2  # batches that are prepared together, so that answers can be batched by length


def run(
    records: Iterable[Case],
    config: EvalConfig,
    context: Context,
    *,
    training: Sequence[Step] = (),
    open_arms: OpenArms | None = None,
) -> Iterator[Score | Summary]:
    """Score records, then summarise.

    A case is answered greedily by the base model and, with an adapter, by the aligned one; a sample
    is scored as it was given, without a model; a pair is scored by which side is more likely. With a judge,
    each report and open answer also gets its grade; with ``wording`` and ``metrics`` reports get further measures.

    Args:
        records: cases, samples or pairs; samples cannot be mixed with the others.
        config: settings; ``config.model`` is a folder.
        context: root, rejects, progress.
        training: step records of the run that made the adapter, for the page.
        open_arms: what answers; the default loads the model once the first record needs it.

    Yields:
        One score per record and arm (arms next to each other), then summaries per arm and of the
        difference. The page, if wanted, is written before the last summary.
    """
    lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)
    judge = open_judge(config, context)
    worker = _Worker(config, context, lexicon, open_arms or load_arms)
    kept: dict[str, list[Score]] = {}
    gallery = Gallery(training) if config.html else None
    context.progress.start("eval", context.expected)
    with ReportMetrics(config, context) as further:
        scored = further.measured(worker.score(records))
        for case, scores in graded(scored, judge, worker.counts, config.jobs):
            for score in scores:
                kept.setdefault(score.arm or "", []).append(score)
                yield score
            if gallery is not None:
                gallery.add(case, scores)
            context.progress.advance()
        further.warn()
    if missing := worker.missing:
        context.progress.warn(missing)
    versions = worker.versions | further.versions
    summaries = summarise(kept, resamples=config.bootstrap, seed=config.seed, versions=versions)
    if judge is not None:
        summaries = with_judge(summaries, kept, context)
    if gallery is not None:
        gallery.write(Path(config.html), summaries, config, context)
    yield from summaries


class _Worker:
    """Turns records into scores, chunk by chunk; rejects what cannot be scored."""

    def __init__(self, config: EvalConfig, context: Context, lexicon: Lexicon, open_arms: OpenArms) -> None:
        self._config = config
        self._context = context
        self._lexicon = lexicon
        self._profile = PROFILES[config.profile]
        self._open = open_arms
        self._arms: Arms | None = None
        self._looker = Looker(context, lexicon)
        self._seen: set[str] = set()
        self._given: bool | None = None
        self._before: ImageRef | None = None
        self._last: tuple[str, ImageRef | None] = ("", None)

    @property
    def versions(self) -> dict[str, str]:
        """What made the scores."""
        made = {"medpo": medpo_cli.__version__, "numpy": np.__version__, "lexicon": self._lexicon.digest[:16]}
        made["bleu"] = signature()
        return made | (self._arms.versions if self._arms else {})

    @property
    def missing(self) -> str:
        """What of ``--attention`` was not available; empty if nothing was missing."""
        return self._looker.note()

    def counts(self, case: Case, answer: str) -> dict[str, float]:
        """The counts of one answer by the rules."""
        return answer_counts(case, answer, self._lexicon, self._profile)[0]

    def score(self, records: Iterable[Case]) -> Iterator[tuple[Case, list[Score]]]:
        """Each usable record with its scores, in order."""
        usable = self._checked(records)
        while chunk := list(islice(usable, _CHUNK * self._config.batch)):
            self._context.check_time()
            given = [record for record in chunk if isinstance(record, Sample)]
            yield from zip(given, map(self._score_given, given), strict=True)
            yield from self._ask([record for record in chunk if not isinstance(record, Sample)])

    def _checked(self, records: Iterable[Case]) -> Iterator[Case]:
        for record in records:
            try:
                self._check(record)
            except RecordError as error:
                self._context.reject(record.id, error)
            else:
                self._seen.add(record.id)
                self._given = isinstance(record, Sample)
                yield record

    def _check(self, record: Case) -> None:
        if record.id in self._seen:
            raise RecordError("duplicate-id", "an earlier record has this id", "$.id")
        if self._given is not None and isinstance(record, Sample) is not self._given:
            raise RecordError("mixed-kinds", "samples cannot be scored beside cases or pairs", "$.schema")
        if not isinstance(record, Pair) and not (record.reference or "").strip():
            raise RecordError("reference-missing", "nothing to score against", "$.reference")
        probe_of(record)
        if self._config.attention and isinstance(record, Sample):
            raise UsageError("--attention looks into the model while it answers: give cases, not recorded answers")
        if type(record) not in (Case, Sample, Pair):
            raise RecordError("kind-unsupported", "only cases, samples and pairs can be scored", "$.schema")

    def _score_given(self, sample: Sample) -> list[Score]:
        """The recorded answers; several of one case are averaged so that it keeps its weight."""
        scored = [answer_counts(sample, response.text, self._lexicon, self._profile) for response in sample.responses]
        if len(scored) > 1:
            return [make_score(sample, "given", mean_counts([counts for counts, _ in scored]), self._profile)]
        counts, ext = scored[0]
        return [make_score(sample, "given", counts, self._profile, answer=sample.responses[0].text, ext=ext)]

    def _ask(self, records: list[Case]) -> Iterator[tuple[Case, list[Score]]]:
        if not records:
            return
        if self._arms is None:
            self._arms = self._open(self._config)
            self._context.facts |= self._arms.facts
        asked = [item for record in records if (item := self._prepared(record, self._arms))]
        cases = [item for item in asked if not isinstance(item.case, Pair)]
        pairs = [item for item in asked if isinstance(item.case, Pair)]
        scored = score_cases(cases, self._arms, self._lexicon, self._profile)
        if self._config.attention:
            scored = [
                self._looker.looked(item.case, own, opened(self._arms)) for item, own in zip(cases, scored, strict=True)
            ]
        scores = dict(zip((item.case.id for item in cases), scored, strict=True))
        scores |= zip((item.case.id for item in pairs), score_pairs(pairs, self._arms, self._profile), strict=True)
        for item in asked:
            yield item.case, scores[item.case.id]

    def _prepared(self, record: Case, arms: Arms) -> Asked | None:
        try:
            asked = prepare(record, arms, self._view, grounding=self._config.grounding)
            if self._config.blind and not isinstance(record, Pair):
                without_picture(asked, [self._view(ref, "$.image") for ref in record.images], self._other(record), arms)
            return asked
        except RecordError as error:
            self._context.reject(record.id, error)
            return None

    def _other(self, record: Case) -> View | None:
        """First picture of the last record of another group; the order of the input alone decides."""
        group = record.group or record.id
        if group != self._last[0]:
            self._before, self._last = self._last[1], (group, record.images[0])
        return None if self._before is None else self._view(self._before, "$.image")

    def _view(self, ref: ImageRef, path: str) -> View:
        from medpo_cli.imaging.window import load_view

        return load_view(ref, self._context, path)
