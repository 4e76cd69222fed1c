"""Further files that ``medpo eval`` reads: the sides of ``--compare``, the steps of a run for the page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpo_cli.cli.inputs import open_file
from medpo_cli.errors import UsageError
from medpo_cli.io.manifest import versions
from medpo_cli.io.stream import read_all
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, Pair, Record, Sample, Score, Step, Summary


def judged(settings: EvalConfig) -> tuple[type[Record], ...]:
    """The kinds of record that eval reads."""
    return (Score, Summary) if settings.compare else (Case, Sample, Pair)


def compared(records: Iterator[Any], config: EvalConfig) -> Iterator[Record]:
    """Summaries of ``--compare`` (A), of the input with ``--runs`` (B), and of B against A."""
    from medpo_cli.evaluation.comparisons import compare, read_run
    from medpo_cli.evaluation.gate import check_metric

    declared = _listed(config.declare)
    for name in declared:
        check_metric(name, "--declare")
    first = {name: _read(name, config) for name in _listed(config.compare)}
    second = {"the input": read_run(records, "the input")}
    second |= {name: _read(name, config) for name in _listed(config.runs)}
    yield from compare(
        first, second, resamples=config.bootstrap, seed=config.seed, versions=versions(), declared=declared
    )


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
