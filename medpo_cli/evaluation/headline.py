"""The result table as data, for the page and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medpo_cli.evaluation.attention_measures import attention_measure
from medpo_cli.evaluation.measures import BY_NAME, Measure, cooccurrence, part_of
from medpo_cli.evaluation.metric_measures import metric_measure
from medpo_cli.schema.records import Interval, Summary

HEADLINE = (
    "report.finding_accuracy",
    "report.all_right",
    "report.facts_f1",
    "report.tuples_f1",
    "report.hallucination",
    "report.omission",
    "report.side_error",
    "report.contradiction",
    "report.changes_f1",
    "report.bleu_4",
    "report.rouge_l",
    "report.words",
    "report.drift",
    "report.flip_lesion",
    "report.flip_control",
    "report.specificity",
    "report.flip_twin",
    "report.blank_accuracy",
    "report.swapped_accuracy",
    "report.judge_right",
    "report.judge_preferred",
    "report.judge_agreement",
    "report.judge_kappa",
    "report.judge_unparsed",
    "report.rouge_1",
    "report.rouge_2",
    "report.sentence_bleu_1",
    "report.sentence_bleu_4",
    "report.union_rouge_l",
    "report.cider",
    "report.empty",
    "closed.accuracy",
    "closed.unparsed",
    "closed.yes_rate",
    "closed.specificity",
    "closed.blank_accuracy",
    "closed.swapped_accuracy",
    "closed.true_half",
    "closed.pair_accuracy",
    "closed.image_accuracy",
    "closed.ece",
    "closed.brier",
    "closed.aurc",
    "closed.auc_present",
    "closed.auc_lesion",
    "closed.auc_twin",
    "open.exact",
    "open.f1",
    "open.judge_right",
    "open.judge_preferred",
    "open.judge_agreement",
    "open.judge_kappa",
    "open.judge_unparsed",
    "pair.accuracy",
    "pair.reversal_lesion",
    "pair.reversal_control",
    "pair.span_specificity",
    "attention.energy",
    "attention.area",
    "attention.pointing",
    "attention.pointing_chance",
    "attention.gradient_energy",
    "attention.gradient_pointing",
    "attention.upstream_ar",
    "attention.upstream_kl",
    "attention.upstream_js",
    "attention.firempo_ar",
    "attention.firempo_kl",
    "attention.firempo_js",
    "attention.unavailable",
)
"""The rows of the default table, where they were measured."""


KINDS = {
    "report": "Reports",
    "closed": "Closed questions",
    "open": "Open questions",
    "metric": "Reports, by other programs",
    "pair": "Pairs",
    "attention": "Where it looks (mean over layers)",
    "cooccurrence": "Shortcuts: asserted where only the other finding is there",
}
"""Headings of the parts of a table."""


Verdict = Literal["better", "worse", "changed", "unclear", ""]


@dataclass(frozen=True)
class Row:
    """One measure across arms.

    Attributes:
        measure: its definition.
        cells: by arm, in the order of the summaries; None where it was not measured.
        changes: by arm, the difference against the first arm, where there is one.
    """

    measure: Measure
    cells: dict[str, Interval | None]
    changes: dict[str, Interval]

    @property
    def change(self) -> Interval | None:
        """The difference, where two arms are compared."""
        return next(iter(self.changes.values())) if len(self.changes) == 1 else None

    @property
    def verdict(self) -> "Verdict":
        """Of the one difference; see ``verdict``."""
        return verdict(self.measure, self.change)


def headline(summaries: Sequence[Summary], names: Sequence[str] = HEADLINE, *, extra: Sequence[str] = ()) -> list[Row]:
    """The rows of the result table; a measure that no arm has is left out.

    Args:
        summaries: of one evaluation or comparison.
        names: measures to show, in order.
        extra: further names, for example ``cooccurrence.cardiomegaly->pleural_effusion``.
    """
    arms = [summary for summary in summaries if summary.against is None]
    differences = [summary for summary in summaries if summary.against is not None]
    rows = []
    programs = dict.fromkeys(name for arm in arms for name in arm.metrics if name.startswith("metric."))
    others = sorted(programs, key=lambda name: (name.split(".")[1], name.endswith(".failed")))
    for name in (*names, *others, *extra):
        cells = {str(arm.arm): arm.metrics.get(name) for arm in arms}
        if all(cell is None for cell in cells.values()):
            continue
        changes = {str(one.arm): one.metrics[name] for one in differences if name in one.metrics}
        rows.append(Row(measure_of(name), cells, changes))
    return rows


def measure_of(name: str) -> Measure:
    """The measure of a name, co-occurrence and parts (``closed.accuracy[organ=lung]``) included."""
    if name.startswith("attention."):
        return attention_measure(name)
    if name.startswith("metric."):
        return metric_measure(name)
    if name.startswith("cooccurrence."):
        return cooccurrence(*name.removeprefix("cooccurrence.").split("->"))
    if name.endswith("]"):
        whole, _, part = name[:-1].partition("[")
        key, _, value = part.partition("=")
        return part_of(BY_NAME[whole], key, value)
    return BY_NAME[name]


def sections(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows under their headings, in order."""
    return [(title, own) for kind, title in KINDS.items() if (own := [row for row in rows if row.measure.kind == kind])]


def shortcuts(summaries: Sequence[Summary], *, at_least: float = 0.3, limit: int = 3) -> list[str]:
    """Names of the strongest co-occurrence measures of the first arm."""
    first = next((summary for summary in summaries if summary.against is None), None)
    values = {
        name: cell.value
        for name, cell in (first.metrics if first else {}).items()
        if name.startswith("cooccurrence.") and cell.value >= at_least
    }
    return sorted(values, key=lambda name: (-values[name], name))[:limit]


def verdict(measure: Measure, change: Interval | None) -> Verdict:
    """What a difference says: nothing unless its 95 % interval excludes 0."""
    if change is None or change.low is None or change.high is None:
        return ""
    if change.low <= 0 <= change.high:
        return "unclear"
    if measure.better == "neither":
        return "changed"
    return "better" if (change.value > 0) == (measure.better == "higher") else "worse"


def number(measure: Measure, value: float, *, sign: bool = False) -> str:
    """A value as printed: shares in per cent with one decimal, ratios with two, divergences with three."""
    scaled = 100 * value if measure.unit in ("share", "points") else value
    digits = {"ratio": 2, "nats3": 3, "score": 3}.get(measure.unit, 1)
    zero = f"{0:.{digits}f}"
    text = f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}"
    return text.replace("-", "\u2212") if text[1:] != zero or text[0] not in "+-" else zero


def unit(measure: Measure) -> str:
    """The unit printed beside the label."""
    return {"share": "%", "nats3": "nats", "ratio": "", "score": ""}.get(measure.unit, measure.unit)


MARKS = {"better": "+", "worse": "!", "changed": "~", "unclear": "=", "": " "}


def probability(p: float | None) -> str:
    """A p value as printed."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else "1" if p > 0.9995 else f"{p:.3f}".lstrip("0")
