"""Measures of reports by programs of their own: what a score holds, and what a summary makes of it.

Of a program called ``bertscore`` a score holds ``metric.bertscore.asked``, and where it answered ``.items`` with one
``.value.NAME`` for each number, or of labels ``.label.NAME.shared`` and ``.label.NAME.both``. A summary holds
``metric.bertscore.f1`` (mean), ``metric.chexbert.labels_micro`` and ``labels_macro``, and ``metric.bertscore.failed``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.measures import Measure, Whole
from medpo_cli.schema.records import Score

DEFINED = "metric:"
"""Start of the names of definitions among a summary's versions."""
NOTE = "metrics"
"""Key of a score's ``ext`` that says by which definition or program each measure is."""
RESERVED = ("asked", "items", "failed")
LABELS = "labels_"
"""Start of the names of measures made of labels; no number of a program may be called so."""


def metric_measure(name: str) -> Measure:
    """The measure of a name such as ``metric.bertscore.f1``."""
    _, program, what = name.split(".", 2)
    base = f"metric.{program}"
    if what == "failed":
        label = f"{program}: reports without a value"
        return Measure(name, {f"{base}.failed": 1.0}, f"{base}.asked", label, "lower", short=label)
    kind, _, subset = what.removeprefix(LABELS).partition("_")
    label = f"{program}: {what}" if not what.startswith(LABELS) else f"{program}: {kind} F1 of labels"
    label += f" ({subset})" if what.startswith(LABELS) and subset else ""
    if what.startswith(f"{LABELS}macro"):
        return Whole(name, {}, "", label, short=label, statistic="macro")
    if what.startswith(LABELS):
        numerator, below = {f"{base}.shared_{subset}": 2.0}, f"{base}.both_{subset}"
        return Measure(name, numerator, below, label, short=label)
    return Measure(name, {f"{base}.value.{what}": 1.0}, f"{base}.items", label, unit="score", short=label)


def value_counts(program: str, values: Mapping[str, float]) -> dict[str, float]:
    """Counts of the numbers that a program gave for one answer."""
    return {f"metric.{program}.value.{name}": value for name, value in values.items()}


def label_counts(
    program: str, said: Mapping[str, bool], truth: Mapping[str, bool], subsets: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Counts of the labels that a program read from an answer and from its reference (multi-label F1).

    Args:
        program: its name.
        said: by label, whether the answer has it.
        truth: the same of the reference.
        subsets: labels that are also counted on their own, by a name.
    """
    out = {}
    for name in said:
        out[f"metric.{program}.label.{name}.shared"] = float(said[name] and truth[name])
        out[f"metric.{program}.label.{name}.both"] = float(said[name]) + float(truth[name])
    for subset, names in {"": tuple(said), **subsets}.items():
        for part in ("shared", "both"):
            out[f"metric.{program}.{part}_{subset}"] = sum(out[f"metric.{program}.label.{one}.{part}"] for one in names)
    return out


def measured_names(scores: Iterable[Score]) -> list[str]:
    """Names of the measures that scores hold, failures last, programs in the order of their names."""
    programs: dict[str, dict[str, None]] = {}
    for score in scores:
        for key in score.metrics:
            if key.startswith("metric."):
                program, what = key.split(".", 2)[1:]
                programs.setdefault(program, {}).update(dict.fromkeys(_names(what)))
    return [f"metric.{program}.{what}" for program in sorted(programs) for what in (*programs[program], "failed")]


def _names(what: str) -> list[str]:
    if what.startswith("value."):
        return [what.removeprefix("value.")]
    if what.startswith("both_"):
        subset = what.removeprefix("both")
        return [f"{LABELS}{kind}{subset if subset != '_' else ''}" for kind in ("micro", "macro")]
    return []


def macro_labels(scores: Iterable[Score], name: str) -> list[str]:
    """The labels whose F1 a macro measure averages."""
    _, program, what = name.split(".", 2)
    subset = what.removeprefix(f"{LABELS}macro").removeprefix("_")
    start, end = f"metric.{program}.label.", ".both"
    held = dict.fromkeys(key for score in scores for key in score.metrics if key.startswith(start))
    labels = [key.removeprefix(start).removesuffix(end) for key in held if key.endswith(end)]
    if not subset:
        return labels
    told: dict[str, Any] = next((one for score in scores if (one := note(score).get(program))), {})
    return [str(label) for label in told.get("subsets", {}).get(subset, [])]


def note(score: Score) -> dict[str, Any]:
    """What ``ext.metrics`` says: by measure or program its definition."""
    found = (score.ext or {}).get(NOTE, {})
    return found if isinstance(found, dict) else {}


def definitions(scores: Iterable[Score]) -> dict[str, str]:
    """What stands among a summary's versions: by which definition, or program and version, each measure is."""
    out: dict[str, str] = {}
    for score in scores:
        for name, told in note(score).items():
            out.setdefault(f"{DEFINED}{name}", told if isinstance(told, str) else str(told.get("program", "")))
    return out


def check_definitions(runs: Mapping[str, Sequence[Score]]) -> None:
    """Refuse numbers under one name by different definitions, programs or versions.

    Raises:
        BadInputError: naming the runs and the measure.
    """
    first: dict[str, tuple[str, str]] = {}
    for run, scores in runs.items():
        for score in scores:
            for name, told in note(score).items():
                kept = first.setdefault(name, (run, json.dumps(told, sort_keys=True)))
                if kept[1] != json.dumps(told, sort_keys=True):
                    raise BadInputError(f"{kept[0]} and {run} measured {name} by different programs or versions")
