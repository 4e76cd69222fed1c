"""What wording and other programs' metrics add to a summary."""

from collections.abc import Mapping, Sequence

import msgspec

from medpo_cli.evaluation import wording
from medpo_cli.evaluation.measures import Measure, Whole
from medpo_cli.evaluation.metric_measures import definitions, macro_labels, measured_names, metric_measure
from medpo_cli.evaluation.whole import Entries, collect
from medpo_cli.schema.records import Score

__all__ = ["all_measured", "collected", "definitions", "further_ratios", "further_wholes"]


def further_ratios(scores: Sequence[Score]) -> list[Measure]:
    """Measures of other programs that are ratios of sums."""
    return [one for one in map(metric_measure, measured_names(scores)) if not isinstance(one, Whole)]


def further_wholes(scores: Sequence[Score]) -> list[Whole]:
    """Measures of wording and of other programs that are made of a whole set."""
    macro = [one for one in map(metric_measure, measured_names(scores)) if isinstance(one, Whole)]
    return [*wording.wholes(scores), *macro]


def collected(scores: Sequence[Score], measure: Whole) -> Entries:
    """What a run brings to a measure of a whole set."""
    if measure.statistic == "cider":
        return wording.cider_rows(scores, measure)
    return _label_rows(scores, measure) if measure.statistic == "macro" else collect(scores, measure)


def _label_rows(scores: Sequence[Score], measure: Whole) -> wording.Rows:
    """Of each report shared and both of every label: [reports, 2 x labels]."""
    base = measure.name.rpartition(".")[0]
    labels = macro_labels(scores, measure.name)
    places = [k for k, score in enumerate(scores) if score.metrics.get(f"{base}.items")]
    keys = [f"{base}.label.{label}.{part}" for part in ("shared", "both") for label in labels]
    values = [[scores[k].metrics[key] for key in keys] for k in places]
    return wording.made(measure, places, values, len(keys))


def all_measured(arms: Mapping[str, Sequence[Sequence[Score]]]) -> dict[str, list[list[Score]]]:
    """Runs in which a program's value counts only where every run that asked it has one: all average the same items.

    Args:
        arms: runs by arm, all with the same items in the same order.
    """
    out = {name: [list(scores) for scores in runs] for name, runs in arms.items()}
    every = [run for runs in out.values() for run in runs]
    programs = {
        key.split(".")[1] for run in every for score in run for key in score.metrics if key.startswith("metric.")
    }
    for program in sorted(programs):
        asked = [run for run in every if any(f"metric.{program}.asked" in score.metrics for score in run)]
        for k in range(len(asked[0])):
            if not all(run[k].metrics.get(f"metric.{program}.items") for run in asked):
                for run in asked:
                    run[k] = _without_values(run[k], program)
    return out


def _without_values(score: Score, program: str) -> Score:
    base = f"metric.{program}."
    kept = {base + "asked", base + "failed"}
    left = {key: value for key, value in score.metrics.items() if key in kept or not key.startswith(base)}
    return msgspec.structs.replace(score, metrics=left)
