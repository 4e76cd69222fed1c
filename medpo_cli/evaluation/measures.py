"""Every measure, defined once as a ratio of sums of a score's metrics.

A score record holds counts (``report.hallucinated`` 1, ``report.absent`` 3); a summary holds
``sum(numerator) / sum(denominator)`` over the items, so any table can be recomputed from the scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Unit = Literal["share", "points", "words", "nats", "nats3", "ratio", "score"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Measure:
    """One ratio of sums.

    Attributes:
        name: key in the summary, ``kind.measure``.
        numerator: metric keys with weights.
        denominator: metric key; the summary's ``n`` is its sum.
        label: what a reader sees.
        short: the same where the heading says the rest.
        better: which direction is an improvement.
        unit: ``share`` (0 to 1, shown in per cent), ``points`` (difference of shares), ``words``, ``ratio``, ``score``
            (another program's, three decimals), or nats, with one decimal or as ``nats3`` with three.
        outcome: ``item`` if the numerator is 0 or 1 per item and 1 is right, ``finding`` if it counts
            right findings; then items (findings) fixed and broken are counted.
        only: the part of the items that counts, as what ``ext.about`` of a score says: ("organ", "lung").
    """

    name: str
    numerator: Mapping[str, float]
    denominator: str
    label: str
    better: Literal["higher", "lower", "neither"] = "higher"
    unit: Unit = "share"
    outcome: Literal["", "item", "finding"] = ""
    short: str = ""
    only: tuple[str, str] | None = None

    @property
    def kind(self) -> str:
        """First part of the name: report, closed, open, pair or cooccurrence."""
        return self.name.split(".")[0]


Statistic = Literal["ece", "aurc", "auc", "pair", "image", "kappa", "bleu", "cider", "macro"]


@dataclass(frozen=True)
class Whole(Measure):
    """A measure of all items at once that is no ratio of sums; see evaluation.whole.

    Attributes:
        statistic: calibration error, area under risk over coverage, area under ROC, the share of pairs of
            probes (of images) of which every answer is right, the kappa of judge and rules, BLEU or
            CIDEr of all reports, or F1 as a mean over labels.
        against: what the finding's log-odds on the intact image are set against: the image with the ``lesion``
            destroyed, the ``twin`` without it; empty: images of others that lack the finding.
        order: longest n-gram of BLEU.
    """

    statistic: Statistic = "ece"
    against: Literal["", "lesion", "twin"] = ""
    order: int = 0

    @property
    def biased(self) -> bool:
        """Whether chance alone moves it one way, and a redrawn set once more: no interval of its own then.

        Bins of few items are off by chance, which counts as miscalibration. Of two arms both are, so that their
        difference has an interval that holds.
        """
        return self.statistic == "ece"


@dataclass
class _Table:
    """Collects measures of one kind under short names."""

    kind: str
    rows: list[Measure] = field(default_factory=list)

    def add(
        self,
        name: str,
        numerator: str,
        denominator: str,
        label: str,
        better: Literal["higher", "lower", "neither"] = "higher",
        *,
        unit: Unit = "share",
        outcome: Literal["", "item", "finding"] = "",
        short: str = "",
    ) -> None:
        """Add ``numerator / denominator``, all within the kind."""
        weights, below = {f"{self.kind}.{numerator}": 1.0}, f"{self.kind}.{denominator}"
        self.rows.append(Measure(f"{self.kind}.{name}", weights, below, label, better, unit, outcome, short or label))


def _report() -> list[Measure]:
    table = _Table("report")
    table.add("finding_accuracy", "right", "statements", "findings right (status and side)", outcome="finding")
    table.add("finding_accuracy_full", "right_full", "statements", "findings right in every attribute")
    table.add("all_right", "all_right", "judged", "reports without an error", outcome="item")
    table.add(
        "hallucination", "hallucinated", "absent", "hallucinated, of findings not there", "lower", short="hallucinated"
    )
    table.add("chair", "hallucinated", "asserted", "hallucinated, of findings asserted", "lower")
    table.add("chair_reports", "hallucinating", "judged", "reports with a hallucinated finding", "lower")
    table.add("coverage", "covered", "present", "findings there that are asserted")
    for name, what in (
        ("facts", "finding and status"),
        ("tuples", "finding, status and all attributes"),
        ("changes", "finding and how it changed"),
    ):
        shared, both = {f"report.{name}_shared": 2.0}, f"report.{name}_both"
        table.rows.append(Measure(f"report.{name}_f1", shared, both, f"F1 of facts ({what})", short=f"F1, {what}"))
    table.add("omission", "omitted", "present", "omitted, of findings there", "lower", short="omitted")
    for kind in ("side", "location", "severity", "size"):
        table.add(
            f"{kind}_error",
            f"{kind}_errors",
            "present",
            f"wrong {kind}, of findings there",
            "lower",
            short=f"wrong {kind}",
        )
    table.add("hedged", "hedged", "statements", "findings left in doubt, or wrongly certain", "lower", short="in doubt")
    table.add("contradiction", "contradictory", "items", "reports that contradict themselves", "lower")
    table.add("missing", "missing", "expected", "expected findings not mentioned", "lower")
    table.add("rouge_l", "rouge_l", "texts", "ROUGE-L (F1, words alone)", short="ROUGE-L")
    return table.rows + _wording("report", "report") + _overlap()


def _overlap() -> list[Measure]:
    """With ``--wording``; CIDEr, which is of a whole set, is in ``WORDING``."""
    table = _Table("report")
    for name in ("1", "2"):
        table.add(f"rouge_{name}", f"rouge_{name}", "wording_items", f"ROUGE-{name} (F1, words alone)")
    for order in range(1, 5):
        what = f"BLEU-{order}, mean over reports (MedEvalKit)"
        table.add(f"sentence_bleu_{order}", f"sentence_bleu_{order}", "sentence_items", what)
    table.add("union_rouge_l", "union_rouge_l", "sentence_items", "ROUGE-L over sentences (MedEvalKit)")
    table.add("empty", "empty", "wording_items", "empty reports", "lower")
    return table.rows


def _closed() -> list[Measure]:
    table = _Table("closed")
    table.add("accuracy", "right", "items", "closed questions right", outcome="item")
    table.add("true_half", "true_right", "true_probes", "probes of what is there, without their adversaries")
    table.add("adversarial_half", "adversarial_right", "adversarial_probes", "adversarial probes right")
    table.add("unparsed", "unparsed", "items", "closed answers without a commitment", "lower")
    table.add("yes_rate", "said_yes", "yes_no", "answers yes", "neither")
    table.add("true_yes_rate", "true_yes", "yes_no", "yes in the references", "neither")
    table.add("precision", "both_yes", "said_yes", "precision of yes")
    table.add("recall", "both_yes", "true_yes", "recall of yes")
    table.add("brier", "brier", "probable", "Brier score of p(yes)", "lower")
    table.add("mass", "mass", "probable", "probability on yes or no as the first word", "neither")
    table.rows.append(
        Measure("closed.f1", {"closed.both_yes": 2.0}, "closed.any_yes", "F1 of yes"),
    )
    return table.rows + _wording("closed", "closed answer")


def _open() -> list[Measure]:
    table = _Table("open")
    table.add("exact", "exact", "exact_items", "open answers equal to the reference", outcome="item")
    table.add("precision", "precision", "overlap_items", "token precision")
    table.add("recall", "recall", "overlap_items", "token recall")
    table.add("f1", "f1", "overlap_items", "token F1")
    return table.rows + _wording("open", "open answer")


def _wording(kind: str, what: str) -> list[Measure]:
    table = _Table(kind)
    table.add("words", "words", "items", f"words per {what}", "neither", unit="words")
    table.add("drift", "drift", "drift_items", "words changed against the base", "neither")
    return table.rows


def _grounding(kind: str, what: str) -> list[Measure]:
    table = _Table(kind)
    lesion, control, twin = "lesion destroyed", "equal area elsewhere (control)", "image without the lesion (twin)"
    table.add("flip_lesion", "flips_lesion", "lesion_chances", f"{what}: {lesion}", short=lesion)
    table.add("flip_control", "flips_control", "control_chances", f"{what}: {control}", "lower", short=control)
    table.add("specificity", "flips_excess", "control_chances", "specificity (lesion less control)", unit="points")
    table.add("flip_twin", "flips_twin", "twin_chances", f"{what}: {twin}", short=twin)
    return table.rows


def _blind(kind: str, what: str) -> list[Measure]:
    table = _Table(kind)
    for name, seen in (("blank", "blank picture"), ("swapped", "another case's picture")):
        table.add(f"{name}_accuracy", f"{name}_right", f"{name}_judged", f"{what} right: {seen}", "neither")
        table.add(f"{name}_change", f"{name}_changed", f"{name}_items", f"other answer than with the picture: {seen}")
    return table.rows


def _judge(kind: str, what: str) -> list[Measure]:
    """By a language model as judge; only answers count on which it gave a verdict."""
    table = _Table(kind)
    table.add("judge_right", "judge_right", "judge_items", f"{what} without an error, says the judge", outcome="item")
    table.add("judge_wrong", "judge_wrong", "judge_items", f"{what} wrong in all that matters, says the judge", "lower")
    for name in ("hallucinated", "omitted", "side", "location", "severity", "size", "other"):
        label = f"{what} with the error {name}, says the judge"
        table.add(f"judge_{name}", f"judge_{name}", "judge_items", label, "lower")
    below, cells = f"{kind}.judge_ruled", (f"{kind}.judge_right_right", f"{kind}.judge_wrong_wrong")
    label = "judge and rules agree whether there is an error"
    table.rows.append(Measure(f"{kind}.judge_agreement", dict.fromkeys(cells, 1.0), below, label, "neither"))
    table.add("judge_unparsed", "judge_unparsed", "judge_asked", f"{what} without a verdict of the judge", "lower")
    table.add("judge_preferred", "judge_preferred", "judge_pairs", f"{what} preferred by the judge in both orders")
    return table.rows


def _pair() -> list[Measure]:
    table = _Table("pair")
    table.add("accuracy", "preferred", "items", "chosen answer more likely than rejected", outcome="item")
    table.add("margin", "margin", "items", "log-probability margin", unit="nats")
    table.add(
        "reversal_lesion",
        "reversals_lesion",
        "lesions",
        "preference reversed: lesion destroyed",
        short="lesion destroyed",
    )
    table.add(
        "reversal_control",
        "reversals_control",
        "controls",
        "preference reversed: equal area elsewhere (control)",
        "lower",
        short="equal area elsewhere (control)",
    )
    table.add(
        "span_drop_lesion",
        "drop_lesion",
        "drops",
        "log-probability lost by what is edited: lesion destroyed",
        "neither",
        unit="nats",
    )
    table.add(
        "span_drop_control",
        "drop_control",
        "drops_controlled",
        "log-probability lost by what is edited: equal area elsewhere (control)",
        "neither",
        unit="nats",
    )
    table.add("span_specificity", "drop_excess", "drops_controlled", "the same, lesion less control", unit="nats")
    table.add(
        "span_specific", "drops_specific", "drops_controlled", "pairs that lose more by the lesion than by the control"
    )
    return table.rows


MEASURES: tuple[Measure, ...] = (
    *_report(),
    *_grounding("report", "withdrawn"),
    *_blind("report", "findings"),
    *_judge("report", "reports"),
    *_closed(),
    *_grounding("closed", "changed"),
    *_blind("closed", "answers"),
    *_open(),
    *_grounding("open", "changed"),
    *_blind("open", "answers"),
    *_judge("open", "answers"),
    *_pair(),
)
"""All measures in the order of every table."""


def _whole(name: str, label: str, statistic: Statistic, against: Literal["", "lesion", "twin"] = "") -> Whole:
    better: Literal["higher", "lower"] = "lower" if statistic in ("ece", "aurc") else "higher"
    return Whole(f"closed.{name}", {}, "", label, better, short=label, statistic=statistic, against=against)


def _kappa(kind: str) -> Whole:
    label = "Cohen's kappa of judge and rules"
    return Whole(f"{kind}.judge_kappa", {}, "", label, "neither", "points", short=label, statistic="kappa")


def _bleu(order: int) -> Whole:
    label = f"BLEU-{order} (words alone)"
    return Whole(f"report.bleu_{order}", {}, "", label, short=f"BLEU-{order}", statistic="bleu", order=order)


WHOLE: tuple[Whole, ...] = (
    _whole("ece", "calibration error of p(yes), 10 bins (ECE)", "ece"),
    _whole("aurc", "area under risk over coverage (AURC)", "aurc"),
    _whole("auc_present", "AUC of a finding's log-odds: there or not", "auc"),
    _whole("auc_lesion", "AUC of a finding's log-odds: intact or lesion destroyed", "auc", "lesion"),
    _whole("auc_twin", "AUC of a finding's log-odds: intact or twin without it", "auc", "twin"),
    _whole("pair_accuracy", "pairs of probes with both answers right", "pair"),
    _whole("image_accuracy", "images with every probe right", "image"),
    _kappa("report"),
    _kappa("open"),
    *map(_bleu, range(1, 5)),
)
"""Measures of a whole set, behind all others in a summary."""

_CIDER = "CIDEr, 0 to 10 (words alone)"
WORDING: tuple[Whole, ...] = (Whole("report.cider", {}, "", _CIDER, unit="ratio", short=_CIDER, statistic="cider"),)
"""Measures of ``--wording`` that are no ratio of sums; see evaluation.wording."""

BY_NAME: dict[str, Measure] = {measure.name: measure for measure in (*MEASURES, *WHOLE, *WORDING)}


PARTED = (
    "report.finding_accuracy", "report.hallucination", "report.omission", "closed.accuracy", "closed.unparsed",
    "closed.yes_rate", "closed.precision", "closed.recall", "closed.f1", "open.exact", "open.precision", "open.recall",
    "open.f1",
)  # fmt: skip
"""Measures that are also given by organ and by kind of question."""

PROBES_PARTED = ("closed.pair_accuracy", "closed.image_accuracy")
"""Measures of a whole set that are also given by kind of question: that of both halves of a pair of probes."""


def part_of(measure: Measure, key: str, value: str) -> Measure:
    """The measure over a part of the items, named ``closed.accuracy[organ=lung]``."""
    return replace(
        measure,
        name=f"{measure.name}[{key}={value}]",
        label=f"{measure.label} ({key} {value})",
        outcome="",
        only=(key, value),
    )


def cooccurrence(given: str, said: str) -> Measure:
    """The shortcut measure: how often ``said`` is asserted where only ``given`` is there."""
    name = f"cooccurrence.{given}->{said}"
    label = f"{said.replace('_', ' ')} asserted, given {given.replace('_', ' ')} without it"
    return Measure(name, {f"{name}.said": 1.0}, f"{name}.items", label, "lower")
