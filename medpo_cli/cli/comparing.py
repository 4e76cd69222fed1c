"""Further files that ``medpo eval`` reads: the sides of ``--compare``, the steps of a run for the page."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from medpo_cli.cli.inputs import open_file
from medpo_cli.errors import BadInputError, UsageError
from medpo_cli.io.context import Context
from medpo_cli.io.manifest import versions
from medpo_cli.io.stream import read_all
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, Pair, Record, Sample, Score, Step, Summary

if TYPE_CHECKING:
    from medpo_cli.stages.duels import Contest


def judged(settings: EvalConfig) -> tuple[type[Record], ...]:
    """The kinds of record that eval reads."""
    return (Score, Summary) if settings.compare else (Case, Sample, Pair)


def check_judge(config: EvalConfig) -> None:
    """Raise UsageError for options of a judge that cannot go together."""
    if config.judge_cases and not (config.judge == "http" and config.compare):
        raise UsageError("--judge-cases needs --compare and --judge http")
    if config.judge == "none" or not config.compare:
        return
    if config.runs or len(_listed(config.compare)) > 1:
        raise UsageError("--judge compares one run with one: leave out --runs and further runs of --compare")
    if not config.judge_cases:
        raise UsageError("--compare with --judge needs --judge-cases: scores hold no questions and references")
    if not config.cache:
        raise UsageError("--compare with --judge needs --cache: there verdicts are kept until the end")


def check_metrics(config: EvalConfig) -> None:
    """Raise UsageError for options of further measures of reports that cannot go together."""
    if config.require and not config.metrics:
        raise UsageError("--require needs --metrics: there the programs are named")
    if config.compare and (config.wording or config.metrics):
        raise UsageError("--compare takes wording and metrics from the scores: measure them when you score")


def compared(records: Iterator[Any], config: EvalConfig, context: Context) -> Iterator[Record]:
    """Summaries of ``--compare`` (A), of the input with ``--runs`` (B), and of B against A.

    With a judge, one score per judged item comes before them.
    """
    from medpo_cli.evaluation.comparisons import compare, read_run
    from medpo_cli.evaluation.gate import check_metric

    declared = _listed(config.declare)
    for name in declared:
        check_metric(name, "--declare")
    first = {name: _read(name, config) for name in _listed(config.compare)}
    second = {"the input": read_run(records, "the input")}
    second |= {name: _read(name, config) for name in _listed(config.runs)}
    contest = None
    if config.judge == "http":
        contest, a, b = _contest(first, second, config, context)
        yield from contest.scores()
        first = dict.fromkeys(first, contest.counted(a, 0))
        second = dict.fromkeys(second, contest.counted(b, 1))
    summaries = compare(
        first, second, resamples=config.bootstrap, seed=config.seed, versions=versions(), declared=declared
    )
    for one in summaries:
        yield msgspec.structs.replace(one, judge=contest.judged) if contest is not None and one.against else one


def _contest(
    first: Mapping[str, list[Score]], second: Mapping[str, list[Score]], config: EvalConfig, context: Context
) -> tuple["Contest", list[Score], list[Score]]:
    """Both runs, checked and in one order, before their judge."""
    from medpo_cli.evaluation.comparisons import matched
    from medpo_cli.stages.duels import Contest, paired
    from medpo_cli.stages.judge import reach_judge

    a, b = matched(first, second)
    name = Path(config.judge_cases).name
    cases: dict[str, Case] = {}
    for case in _records(config.judge_cases, (Case, Sample)):
        if case.id in cases:
            raise BadInputError(f"{name} holds an id twice")
        cases[case.id] = case
    duels = paired(a, b, cases, name)
    return Contest(duels, reach_judge(config, context), config, context), a, b


def read_steps(config: EvalConfig) -> list[Step]:
    """The step records of ``--steps``."""
    if not config.steps:
        return []
    if not config.html:
        raise UsageError("--steps needs --html: its curves are drawn on the page")
    return list(_records(config.steps, (Step,)))


def _read(name: str, config: EvalConfig) -> list[Score]:
    from medpo_cli.evaluation.comparisons import read_run

    return read_run(_records(name, judged(config)), Path(name).name)


def _records(name: str, accept: tuple[type[Record], ...]) -> Iterator[Any]:
    source = open_file(Path(name), accept, "")
    with source.stream:
        yield from read_all(source.stream, source.name, accept)


def _listed(names: str) -> list[str]:
    """Names that are separated by commas."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    if len(set(found)) != len(found):
        raise UsageError(f"{next(name for name in found if found.count(name) > 1)} is named twice")
    return found
