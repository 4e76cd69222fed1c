"""Further measures of the reports that ``medpo eval`` has scored: wording, and programs of the user's."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from medpo_cli.evaluation.items import kind_of, mean_counts
from medpo_cli.evaluation.metric_file import load_metrics
from medpo_cli.evaluation.metric_measures import DEFINED, NOTE
from medpo_cli.evaluation.wording import TEXTS, signatures, wording_counts
from medpo_cli.io.child import ChildError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, Sample, Score
from medpo_cli.stages.metric_command import MetricCommand, Skipped, opened

Scored = tuple[Case, list[Score]]


class ReportMetrics:
    """What ``--wording`` and ``--metrics`` ask for; a context manager that ends the programs.

    Args:
        config: settings.
        context: for warnings and the clock.

    Raises:
        UnavailableError: sacrebleu or a required metric is missing.
        ConfigError, NoInputError: the file of metrics is bad.
    """

    def __init__(self, config: EvalConfig, context: Context) -> None:
        self._context, self._profile = context, config.profile
        self._signatures = signatures(config.profile) if config.wording else {}
        self._commands: list[MetricCommand] = []
        self._skipped: dict[str, Skipped] = {}
        self._asked: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {}
        required = [name.strip() for name in config.require.split(",") if name.strip()]
        programs = load_metrics(Path(config.metrics), required) if config.metrics else {}
        try:
            for name, program in programs.items():
                found = opened(name, program, required=name in required)
                self._take(name, found)
        except BaseException:
            self.close()
            raise

    def _take(self, name: str, found: MetricCommand | Skipped) -> None:
        if isinstance(found, MetricCommand):
            self._commands.append(found)
            return
        self._skipped[name] = found
        self._context.progress.warn(f"metric {name} skipped: {found.reason}")

    def __enter__(self) -> "ReportMetrics":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the programs."""
        for command in self._commands:
            command.close()

    @property
    def versions(self) -> dict[str, str]:
        """Why metrics were left out, for the summaries; what measured the others stands in the scores."""
        return {f"{DEFINED}{name}": f"skipped: {one.reason}" for name, one in self._skipped.items()}

    def measured(self, scored: Iterable[Scored]) -> Iterator[Scored]:
        """The scores with the counts and ``ext`` of these measures, in order; other tasks than reports as they are."""
        for case, scores in scored:
            if kind_of(case) != "report" or not (self._signatures or self._commands):
                yield case, scores
                continue
            self._context.check_time()
            yield case, [self._with_measures(case, score) for score in scores]

    def warn(self) -> None:
        """One line for each program that gave no value for some reports."""
        for name, reasons in self._failed.items():
            why = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
            self._context.progress.warn(
                f"metric {name}: no value for {reasons.total()} of {self._asked[name]} answers ({why})"
            )

    def _with_measures(self, case: Case, score: Score) -> Score:
        answers, reference = answers_of(case, score), case.reference or ""
        if not answers:
            return score
        counts: dict[str, float] = {}
        ext: dict[str, Any] = {NOTE: dict(self._signatures)}
        if self._signatures:
            counts |= mean_counts([wording_counts(answer, reference, self._profile) for answer in answers])
            ext[TEXTS] = {"reference": reference, "answers": answers}
        for command in self._commands:
            counts |= self._asked_of(command, answers, reference)
            ext[NOTE][command.name] = command.definition
        return msgspec.structs.replace(score, metrics=score.metrics | counts, ext=(score.ext or {}) | ext)

    def _asked_of(self, command: MetricCommand, answers: list[str], reference: str) -> Mapping[str, float]:
        """Counts of one report; no value unless every answer of it has one."""
        base, found = f"metric.{command.name}", []
        for answer in answers:
            self._asked[command.name] += 1
            try:
                found.append(command.counts(answer, reference))
            except ChildError as error:
                self._failed.setdefault(command.name, Counter())[error.reason] += 1
        whole = len(found) == len(answers)
        counts = {f"{base}.asked": 1.0, f"{base}.failed": float(not whole)}
        return counts | {f"{base}.items": 1.0} | mean_counts(found) if whole else counts


def answers_of(case: Case, score: Score) -> list[str]:
    """What was scored: all answers of a sample, else the one of the score; none of a pair."""
    if isinstance(case, Sample):
        return [response.text for response in case.responses]
    return [] if score.answer is None else [score.answer]
