"""Grades by a judge on what ``medpo eval`` has scored: each report and open answer against its reference."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from medpo_cli.evaluation.items import kind_of
from medpo_cli.evaluation.verdicts import KINDS, grade_counts, judged, rules_say_right
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, Sample, Score, Summary
from medpo_cli.stages.judge import Heard, Judge
from medpo_cli.stages.propose import ahead
from medpo_cli.text.judging import GRADE, Grade, ask_grade, read_grade, tag

Rules = Callable[[Case, str], Mapping[str, float]]
Scored = tuple[Case, list[Score]]


@dataclass
class _Hearing:
    """A score whose answers are judged."""

    case: Case
    score: Score
    heard: list[Heard[Grade]] = field(default_factory=list)

    @property
    def answers(self) -> list[str]:
        """What the judge reads: all answers of a sample, else the one that was scored; none of other kinds."""
        if kind_of(self.case) not in KINDS:
            return []
        if isinstance(self.case, Sample):
            return [response.text for response in self.case.responses]
        return [] if self.score.answer is None else [self.score.answer]


def graded(scored: Iterable[Scored], judge: Judge | None, rules: Rules, jobs: int) -> Iterator[Scored]:
    """The scores with a judge's counts and ``ext.judge``, in order; ``jobs`` questions are under way at once.

    Args:
        scored: cases with their scores.
        judge: None leaves all as it is.
        rules: the counts of one answer by the rules.
        jobs: requests at once.

    Raises:
        UnavailableError: no usable server; what came before stands.
        TryLaterError: the time is over; what came before stands.
    """
    if judge is None:
        yield from scored
        return

    def consult(hearing: _Hearing) -> None:
        case = hearing.case
        for answer in hearing.answers:
            hearing.heard.append(judge.hear(ask_grade(case.prompt, answer, case.reference or ""), read_grade))

    for group in ahead(([_Hearing(case, score) for score in scores] for case, scores in scored), consult, jobs):
        yield group[0].case, [_with_grades(hearing, judge, rules) for hearing in group]


def _with_grades(hearing: _Hearing, judge: Judge, rules: Rules) -> Score:
    if not hearing.heard:
        return hearing.score
    case, kind, grades = hearing.case, kind_of(hearing.case), [one.value for one in hearing.heard]
    ruled = [rules_say_right(kind, rules(case, answer)) for answer in hearing.answers]
    told: dict[str, Any] = {"model": judge.model, "prompt": tag(GRADE)}
    if reported := next((one.reported for one in hearing.heard if one.reported), ""):
        told["reported"] = reported
    told["verdicts"] = [_verdict(one) for one in hearing.heard]
    metrics = hearing.score.metrics | grade_counts(kind, grades, ruled)
    return msgspec.structs.replace(hearing.score, metrics=metrics, ext=(hearing.score.ext or {}) | {"judge": told})


def _verdict(heard: Heard[Grade]) -> dict[str, Any]:
    if heard.value is None:
        return {"unparsed": heard.reason}
    return {"verdict": heard.value.verdict, "errors": list(heard.value.errors)}


def with_judge(summaries: Iterable[Summary], scores: Mapping[str, list[Score]], context: Context) -> list[Summary]:
    """The summaries of arms with what their judge was; warns of answers without a verdict, and of none to judge."""
    out = [
        msgspec.structs.replace(one, judge=judged(scores[one.arm or ""])) if one.against is None else one
        for one in summaries
    ]
    if out and all(one.judge is None for one in out):
        context.progress.warn("judge: no report and no open answer to judge")
    for found in (one.judge for one in out if one.judge is not None):
        if found.unparsed:
            why = ", ".join(f"{code}: {count}" for code, count in found.reasons.items())
            context.progress.warn(f"judge: no verdict on {found.unparsed} of {found.asked} answers ({why})")
    return out
