"""From score records to summary records: one per arm, and one per difference against the first arm.

An arm may have several runs that differ in their training seed; then its value is the mean over the
seeds and its interval covers both seeds and items (two-level bootstrap).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypedDict

import msgspec
import numpy as np

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.attention_measures import measured
from medpo_cli.evaluation.items import with_drift
from medpo_cli.evaluation.measures import (
    BY_NAME,
    MEASURES,
    PARTED,
    PROBES_PARTED,
    WHOLE,
    Measure,
    Whole,
    cooccurrence,
    part_of,
)
from medpo_cli.evaluation.report_metrics import all_measured, collected, definitions, further_ratios, further_wholes
from medpo_cli.evaluation.statistics import (
    Floats,
    Sums,
    bootstrap,
    group_codes,
    group_sums,
    holm,
    interval,
    mcnemar_exact,
    never_seen,
    over_seeds,
    sign_share,
)
from medpo_cli.evaluation.verdicts import alike
from medpo_cli.evaluation.whole import Entries, curves
from medpo_cli.evaluation.whole import drawn as drawn_whole
from medpo_cli.schema.records import Interval, Score, Summary

_ENOUGH = 20  # images with A and without B before P(says B | A, not B) is worth a line


Runs = Sequence[Sequence[Score]]


class _Made(TypedDict):
    """What every summary of one evaluation shares."""

    profile: str
    seed: int
    versions: dict[str, str]


@dataclass(frozen=True)
class _Arm:
    """One arm's runs (seeds): scores, sums over groups, draws [R, measures] of the mean over seeds."""

    runs: Runs
    sums: Sequence[Sums]
    whole: Sequence[Sequence[Entries]]
    draws: Floats

    @property
    def seeds(self) -> Floats:
        """Each run's own values [seeds, measures]."""
        ratios = np.array([sums.value for sums in self.sums])
        others = [[float(one.measured(np.ones((1, len(one.values))))[0]) for one in run] for run in self.whole]
        return np.concatenate([ratios, np.array(others)], axis=1)

    @property
    def value(self) -> Floats:
        """Mean over the runs [measures]."""
        return np.asarray(self.seeds.mean(axis=0), dtype=np.float64)

    @property
    def counted(self) -> Floats:
        """What was counted in a run [measures], as a mean over runs."""
        ratios = np.mean([sums.denominator.sum(axis=0) for sums in self.sums], axis=0)
        others = np.mean([[one.counted for one in run] for run in self.whole], axis=0)
        return np.concatenate([ratios, others])

    def groups(self, codes: np.ndarray) -> np.ndarray:
        """How many groups each measure counts in [measures], in the first run."""
        others = [len(np.unique(codes[one.item])) for one in self.whole[0]]
        return np.concatenate([(self.sums[0].denominator > 0).sum(axis=0), others])


def summarise(
    arms: Mapping[str, Sequence[Score]], *, resamples: int, seed: int, versions: dict[str, str]
) -> list[Summary]:
    """``summarise_runs`` of arms with one run each."""
    runs = {name: [scores] for name, scores in arms.items() if scores}
    return summarise_runs(runs, resamples=resamples, seed=seed, versions=versions)


def summarise_runs(
    arms: Mapping[str, Runs], *, resamples: int, seed: int, versions: dict[str, str], declared: Collection[str] = ()
) -> list[Summary]:
    """Summaries of each arm, then of each later arm against the first.

    Args:
        arms: runs (seeds) by arm; all runs of all arms hold the same ids in the same order.
        resamples: bootstrap draws.
        seed: of the bootstrap.
        versions: what made the scores; written into every summary.
        declared: measures whose p in a difference is adjusted for their number (Holm).

    Returns:
        One summary per arm with 95 % intervals, then the differences (``against`` is set).

    Raises:
        BadInputError: the runs hold different items, or in another order.
    """
    if not arms:
        return []
    first = next(iter(arms.values()))[0]
    arms = all_measured(alike(_against_base(arms)))
    every = [score for runs in arms.values() for scores in runs for score in scores]
    ratios = [*MEASURES, *_cooccurrences(first), *_parts(first), *measured(first), *further_ratios(every)]
    codes = group_codes([score.group or score.id for score in first])
    wholes = [*WHOLE, *_probe_parts(first), *further_wholes(every)]
    drawn = _drawn(arms, ratios, wholes, codes, resamples, seed)
    measures = [*ratios, *wholes]
    made = _Made(profile=first[0].profile, seed=seed, versions=versions | definitions(every))
    out = [
        Summary(arm=name, metrics=_arm_metrics(measures, arm, codes), curves=curves(arm.whole[0]) or None, **made)
        for name, arm in drawn.items()
    ]
    base, *others = drawn
    for name in others:
        metrics = _adjusted(_differences(measures, drawn[base], drawn[name]), declared)
        out.append(Summary(arm=name, against=base, metrics=metrics, **made))
    return out


def _drawn(
    arms: Mapping[str, Runs],
    measures: Sequence[Measure],
    wholes: Sequence[Whole],
    codes: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, _Arm]:
    """The arms with their sums and draws; every run shares each draw of groups."""
    sums = {name: [_sums(scores, measures, codes) for scores in runs] for name, runs in arms.items()}
    whole = {name: [[collected(scores, one) for one in wholes] for scores in runs] for name, runs in arms.items()}
    ratios = bootstrap([one for runs in sums.values() for one in runs], resamples, seed)
    others = drawn_whole([one for runs in whole.values() for run in runs for one in run], codes, resamples, seed)
    shape = (len(ratios), len(wholes), resamples)
    draws = np.concatenate([ratios, np.moveaxis(others.reshape(shape), 1, 2)], axis=2)
    generator = np.random.default_rng([seed, 1])  # a stream of its own: groups are drawn alike with any number of seeds
    out, start = {}, 0
    for name, runs in arms.items():
        stop = start + len(runs)
        out[name] = _Arm(runs, sums[name], whole[name], over_seeds(draws[start:stop], generator))
        start = stop
    return out


def _against_base(arms: Mapping[str, Runs]) -> dict[str, Runs]:
    """The arms, checked, with the drift of later ones from the first where it was not measured yet."""
    names = list(arms)
    base = arms[names[0]]
    ids = [score.id for score in base[0]]
    if any([score.id for score in scores] != ids for runs in arms.values() for scores in runs):
        raise BadInputError("the arms were not scored on the same items in the same order")

    def drifted(scores: Sequence[Score], number: int) -> list[Score]:
        first = base[number if number < len(base) else 0]
        return [with_drift(score, one) for score, one in zip(scores, first, strict=True)]

    return {names[0]: base} | {name: [drifted(run, k) for k, run in enumerate(arms[name])] for name in names[1:]}


def _adjusted(metrics: dict[str, Interval], declared: Collection[str]) -> dict[str, Interval]:
    """Differences with p adjusted over the declared measures that have one."""
    found = {name: p for name in declared if name in metrics and (p := metrics[name].p) is not None}
    adjusted = dict(zip(found, holm(list(found.values())), strict=True))
    return {
        name: msgspec.structs.replace(one, p_holm=adjusted[name]) if name in adjusted else one
        for name, one in metrics.items()
    }


def _cooccurrences(scores: Sequence[Score]) -> list[Measure]:
    """The pairs of findings A -> B with enough items that have A and lack B."""
    truths = [_findings(score) for score in scores]
    labels = sorted({label for truth in truths for label in truth if ":" not in label})
    pairs = permutations(labels, 2)
    return [cooccurrence(a, b) for a, b in pairs if sum(_tempts(truth, a, b) for truth in truths) >= _ENOUGH]


def _parts(scores: Sequence[Score]) -> list[Measure]:
    """The measures by each value of what ``ext.about`` says, where a key has several values."""
    values: dict[str, set[str]] = {}
    for score in scores:
        for key, value in _about(score).items():
            values.setdefault(key, set()).add(value)
    told = [(key, value) for key in sorted(values) if len(values[key]) > 1 for value in sorted(values[key])]
    return [part_of(BY_NAME[name], key, value) for name in PARTED for key, value in told]


def _probe_parts(scores: Sequence[Score]) -> list[Whole]:
    """Pairs and images of probes by kind of question, where there are several kinds."""
    kinds = sorted({kind for s in scores if "probe" in (s.ext or {}) and (kind := _about(s).get("kind"))})
    parts = (part_of(BY_NAME[name], "kind", kind) for name in PROBES_PARTED for kind in kinds if len(kinds) > 1)
    return [part for part in parts if isinstance(part, Whole)]


def _about(score: Score) -> dict[str, str]:
    found = (score.ext or {}).get("about", {})
    return found if isinstance(found, dict) else {}


def _findings(score: Score) -> dict[str, dict[str, object]]:
    """Per finding: truth, said, errors; empty for an item that is no report."""
    found = (score.ext or {}).get("findings", {})
    return found if isinstance(found, dict) else {}


def _tempts(findings: Mapping[str, Mapping[str, object]], a: str, b: str) -> bool:
    return a in findings and b in findings and findings[a]["truth"] == "present" and findings[b]["truth"] != "present"


def _metrics(score: Score, measure: Measure) -> tuple[float, float]:
    """Numerator and denominator of one measure for one item."""
    if measure.name.startswith("cooccurrence."):
        a, b = measure.name.removeprefix("cooccurrence.").split("->")
        findings = _findings(score)
        if not _tempts(findings, a, b):
            return 0.0, 0.0
        return float(findings[b]["said"] in ("present", "contradictory")), 1.0
    count = score.metrics.get(measure.denominator, 0.0)
    if measure.only and _about(score).get(measure.only[0]) != measure.only[1]:
        return 0.0, 0.0
    if not count:
        return 0.0, 0.0
    return sum(weight * score.metrics.get(key, 0.0) for key, weight in measure.numerator.items()), count


def _sums(scores: Sequence[Score], measures: Sequence[Measure], codes: np.ndarray) -> Sums:
    table = np.array([[_metrics(score, measure) for measure in measures] for score in scores], dtype=np.float64)
    return group_sums(table[:, :, 0], table[:, :, 1], codes)


def _arm_metrics(measures: Sequence[Measure], arm: _Arm, codes: np.ndarray) -> dict[str, Interval]:
    value, seeds, counted = arm.value, arm.seeds, arm.counted
    groups = arm.groups(codes)
    out = {}
    for k, measure in enumerate(measures):
        if counted[k] > 0 and math.isfinite(value[k]):
            told = np.empty(0) if isinstance(measure, Whole) and measure.biased else arm.draws[:, k]
            found = _interval(float(value[k]), round(float(counted[k])), told)
            own = [float(one) for one in seeds[:, k]] if len(seeds) > 1 else None
            out[measure.name] = _without_false_certainty(
                msgspec.structs.replace(found, seeds=own), measure, int(groups[k])
            )
    return out


def _without_false_certainty(found: Interval, measure: Measure, groups: int) -> Interval:
    """A share that was 0 (or 1) in every group gets the exact interval over groups; a kappa without spread, none."""
    if isinstance(measure, Whole) and measure.statistic == "kappa" and found.low == found.high:
        return msgspec.structs.replace(found, low=None, high=None)
    if measure.unit != "share" or found.low != found.high or found.value not in (0.0, 1.0):
        return found
    reach = never_seen(groups)
    low, high = (0.0, reach) if found.value == 0 else (1 - reach, 1.0)
    return msgspec.structs.replace(found, low=low, high=high)


def _differences(measures: Sequence[Measure], base: _Arm, arm: _Arm) -> dict[str, Interval]:
    """Intervals of a difference, with p, and fixed and broken where one run stands against one."""
    change, draws, counted = arm.value - base.value, arm.draws - base.draws, arm.counted
    alone = len(arm.runs) == len(base.runs) == 1
    out = {}
    for k, measure in enumerate(measures):
        if not math.isfinite(change[k]):
            continue
        fixed = broken = mcnemar = None
        if measure.outcome and alone:
            fixed, broken = changes(measure.name, base.runs[0], arm.runs[0])
            mcnemar = mcnemar_exact(fixed, broken) if measure.outcome == "item" else None
        found = _interval(float(change[k]), round(float(counted[k])), draws[:, k])
        out[measure.name] = msgspec.structs.replace(
            found,
            p=sign_share(draws[:, k]) if found.low is not None else None,
            fixed=fixed,
            broken=broken,
            mcnemar=mcnemar,
        )
    return out


def changes(name: str, before: Sequence[Score], after: Sequence[Score]) -> tuple[int, int]:
    """How many outcomes of a measure became right, and how many became wrong."""
    fixed = broken = 0
    for a, b in zip(before, after, strict=True):
        for was, now in _outcomes(BY_NAME[name], a, b):
            fixed += now and not was
            broken += was and not now
    return fixed, broken


def _outcomes(measure: Measure, a: Score, b: Score) -> list[tuple[bool, bool]]:
    """Pairs (right before, right after) of one item: itself, or each finding of its report."""
    if measure.outcome == "finding":
        before, after = _findings(a), _findings(b)
        # a finding that only one answer brought up is absent in truth: the silent answer is right
        return [(_right(before.get(label)), _right(after.get(label))) for label in {**before, **after}]
    if not a.metrics.get(measure.denominator):
        return []
    key = next(iter(measure.numerator))
    return [(a.metrics.get(key, 0.0) >= 1, b.metrics.get(key, 0.0) >= 1)]


def _right(finding: Mapping[str, object] | None) -> bool:
    return finding is None or bool(finding["right"])


def _interval(value: float, n: int, draws: Floats) -> Interval:
    ends = interval(draws)
    return Interval(value=value, n=n, low=ends[0] if ends else None, high=ends[1] if ends else None)
