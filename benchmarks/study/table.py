"""Summaries of runs as JSON to keep, and as a Markdown table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.evaluation.headline import measure_of, number, unit, verdict
from medpo_cli.schema.records import Interval, Summary
from study.runs import Run

ROWS = (
    "report.finding_accuracy",
    "report.all_right",
    "report.hallucination",
    "report.omission",
    "report.side_error",
    "report.contradiction",
    "cooccurrence.cardiomegaly->pleural_effusion",
    "report.words",
    "report.drift",
    "report.flip_lesion",
    "report.flip_control",
    "report.specificity",
    "report.flip_twin",
    "pair.accuracy",
    "pair.reversal_lesion",
    "pair.reversal_control",
    "closed.accuracy",
    "open.exact",
)
"""Measures that are kept and printed, in this order."""
Table = dict[str, dict[str, Interval]]
MARKS = {"better": " +", "worse": " !", "changed": "", "unclear": "", "": ""}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed of a study.

    Attributes:
        made: command line, sizes and seeds.
        values: arm -> measure -> mean over seeds with its 95 % interval over seeds and images.
        changes: the same for the difference from the base.
        contrasts: the same for the difference of two arms, by "one less other".
        seconds: arm -> seconds of training on one CPU core, mean over seeds.
    """

    made: dict[str, Any]
    values: dict[str, dict[str, Interval]]
    changes: dict[str, dict[str, Interval]]
    contrasts: dict[str, dict[str, Interval]]
    seconds: dict[str, float]


def keep(
    runs: Mapping[str, Sequence[Run]],
    made: dict[str, Any],
    contrasts: Sequence[tuple[str, str]],
    *,
    resamples: int = 10000,
) -> Kept:
    """Two-level bootstrap (seeds, then images) of every measure of ``ROWS``; the first arm is the base."""
    values, changes = _summed(runs, resamples)
    pairs = {f"{one} less {other}": {other: runs[other], one: runs[one]} for one, other in contrasts}
    against = {name: list(_summed(two, resamples)[1].values())[-1] for name, two in pairs.items()}
    seconds = {name: round(sum(run.seconds for run in own) / len(own), 1) for name, own in runs.items()}
    return Kept(made=made, values=values, changes=changes, contrasts=against, seconds=seconds)


def _summed(runs: Mapping[str, Sequence[Run]], resamples: int) -> tuple[Table, Table]:
    """Values of each arm, and differences from the first one."""
    from medpo_cli.evaluation.summaries import summarise_runs

    values: Table = {name: {} for name in runs}
    changes: Table = {name: {} for name in runs}
    for part in ("cases", "pairs"):
        scores = {name: [getattr(run, part) for run in own] for name, own in runs.items()}
        for summary in summarise_runs(scores, resamples=resamples, seed=0, versions={}):
            target = values if summary.against is None else changes
            target[str(summary.arm)] |= _rounded(summary)
    return values, changes


def _rounded(summary: Summary) -> dict[str, Interval]:
    """The measures of ``ROWS``, to six decimals: what is beyond them differs between machines."""
    found = {}
    for name in ROWS:
        if one := summary.metrics.get(name):
            ends = {end: None if (value := getattr(one, end)) is None else round(value, 6) for end in ("low", "high")}
            own = None if one.seeds is None else [round(value, 6) for value in one.seeds]
            found[name] = Interval(value=round(one.value, 6), n=one.n, seeds=own, **ends)
    return found


def save(path: Path, kept: Kept) -> None:
    """As indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")


def load(path: Path) -> Kept:
    """What ``save`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Kept)


def markdown(kept: Kept, names: Sequence[str]) -> str:
    """Measures down, arms across."""
    lines = [f"| measure | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for key in ROWS:
        if any(key in kept.values[name] for name in names):
            title = f"{measure_of(key).label} ({unit(measure_of(key))})"
            lines.append(f"| {title} | {' | '.join(_cell(kept, name, key) for name in names)} |")
    cost = " | ".join(f"{kept.seconds[name]:.0f}" if kept.seconds[name] else "" for name in names)
    return "\n".join([*lines, f"| training, one core (s) | {cost} |"]) + "\n"


def arms_down(kept: Kept, names: Sequence[str], rows: Sequence[str]) -> str:
    """Arms down, a few measures across."""
    titles = " | ".join(f"{measure_of(key).label} ({unit(measure_of(key))})" for key in rows)
    lines = [f"| | {titles} |", "|---|" + "---:|" * len(rows)]
    lines += [f"| {name} | {' | '.join(_cell(kept, name, key) for key in rows)} |" for name in names]
    return "\n".join(lines) + "\n"


def differences(kept: Kept, rows: Sequence[str]) -> str:
    """Contrasts across, measures down, each with its interval and + or ! where that excludes 0."""
    lines = [f"| measure | {' | '.join(kept.contrasts)} |", "|---|" + "---:|" * len(kept.contrasts)]
    for key in rows:
        cells = [_change(key, one[key]) for one in kept.contrasts.values()]
        lines.append(f"| {measure_of(key).label} ({unit(measure_of(key))}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _change(key: str, one: Interval) -> str:
    measure = measure_of(key)
    low, high = (number(measure, end or 0.0, sign=True) for end in (one.low, one.high))
    return f"{number(measure, one.value, sign=True)} ({low} to {high}){MARKS[verdict(measure, one)]}"


def _cell(kept: Kept, name: str, key: str) -> str:
    """Mean, interval in brackets, + or ! where it is better or worse than the base."""
    one = kept.values[name].get(key)
    if one is None:
        return ""
    measure = measure_of(key)
    text = number(measure, one.value)
    if one.low is not None and one.high is not None and name != next(iter(kept.values)):
        text += f" ({number(measure, one.low)}\N{EN DASH}{number(measure, one.high)})"
    return text + MARKS[verdict(measure, kept.changes[name].get(key))]
