"""From score records to summary records: one per arm, and one per difference against the first arm."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import TypedDict

import msgspec
import numpy as np

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.items import with_drift
from medpo_cli.evaluation.measures import BY_NAME, MEASURES, Measure, cooccurrence
from medpo_cli.evaluation.profiles import TAGS
from medpo_cli.evaluation.statistics import (
    Floats,
    Sums,
    bootstrap,
    group_codes,
    group_sums,
    interval,
    mcnemar_exact,
    never_seen,
    sign_share,
)
from medpo_cli.schema.records import Interval, Score, Summary

_ENOUGH = 20  # images with A and without B before P(says B | A, not B) is worth a line


class _Made(TypedDict):
    """What every summary of one evaluation shares."""

    profile: str
    seed: int
    versions: dict[str, str]


def summarise(
    arms: Mapping[str, Sequence[Score]], *, resamples: int, seed: int, versions: dict[str, str]
) -> list[Summary]:
    """Summaries of each arm, then of each later arm against the first.

    Args:
        arms: scores by arm; all arms hold the same ids in the same order.
        resamples: bootstrap draws.
        seed: of the bootstrap.
        versions: what made the scores; written into every summary.

    Returns:
        One summary per arm with 95 % intervals, then the differences (``against`` is set).

    Raises:
        BadInputError: the arms hold different items, or in another order.
    """
    names = list(arms)
    if not names or not arms[names[0]]:
        return []
    arms = _against_base(arms)
    measures = [*MEASURES, *_cooccurrences(arms[names[0]])]
    codes = group_codes([score.group or score.id for score in arms[names[0]]])
    sums = {name: _sums(scores, measures, codes) for name, scores in arms.items()}
    draws = bootstrap(list(sums.values()), resamples, seed)
    made = _Made(profile=arms[names[0]][0].profile, seed=seed, versions=versions)
    out = [
        Summary(arm=name, metrics=_arm_metrics(measures, sums[name], draws[k]), **made) for k, name in enumerate(names)
    ]
    first = names[0]
    for k, name in enumerate(names[1:], start=1):
        change = sums[name].value - sums[first].value
        metrics = _differences(measures, sums[name], change, draws[k] - draws[0], (arms[first], arms[name]))
        out.append(Summary(arm=name, against=first, metrics=metrics, **made))
    return out


def _against_base(arms: Mapping[str, Sequence[Score]]) -> dict[str, Sequence[Score]]:
    """The arms, checked, with the drift of later ones from the first where it was not measured yet."""
    base, *others = arms.values()
    for scores in others:
        if [score.id for score in scores] != [score.id for score in base]:
            raise BadInputError("the arms were not scored on the same items in the same order")
    names = list(arms)
    drifted = [[with_drift(score, first) for score, first in zip(scores, base, strict=True)] for scores in others]
    return {names[0]: base, **dict(zip(names[1:], drifted, strict=True))}


def compare(
    a: Iterable[Score],
    b: Iterable[Score],
    *,
    names: tuple[str, str] = ("A", "B"),
    resamples: int = 10000,
    seed: int = 0,
    versions: dict[str, str] | None = None,
) -> list[Summary]:
    """Compare two runs on the same items: summaries of A, of B, and of B against A.

    A run that holds its own baseline beside the aligned model is represented by ``aligned``.

    Raises:
        BadInputError: an id occurs twice or in one run only, profiles are mixed, a run is empty or
            holds several arms of which none is ``aligned``, or the runs were scored against
            different references.
    """
    runs = {name: _one_arm(list(scores), name) for name, scores in zip(names, (a, b), strict=True)}
    first, second = ({score.id: score for score in run} for run in runs.values())
    if runs[names[0]][0].profile != runs[names[1]][0].profile:
        raise BadInputError("the runs were scored under different profiles: score both again under one")
    if first.keys() != second.keys():
        only = (len(first.keys() - second.keys()), len(second.keys() - first.keys()))
        raise BadInputError(f"ids in one run only: {only[0]} in {names[0]}, {only[1]} in {names[1]}")
    for number, key in enumerate(first):
        if not _same_truth(first[key], second[key]):
            raise BadInputError(f"item {number + 1} (id {key}) was scored against different references")
    aligned = {names[0]: list(first.values()), names[1]: [second[key] for key in first]}
    return summarise(aligned, resamples=resamples, seed=seed, versions=versions or {})


def _one_arm(scores: list[Score], name: str) -> list[Score]:
    """The scores of a run's own arm, checked."""
    if not scores:
        raise BadInputError(f"{name} holds no score record")
    if len({score.profile for score in scores}) > 1 or scores[0].profile not in TAGS:
        raise BadInputError(f"{name} mixes profiles or has one that this version does not know")
    arms = {score.arm for score in scores}
    if len(arms) > 1 and "aligned" not in arms:
        raise BadInputError(f"{name} holds several arms and none is called aligned")
    chosen = [score for score in scores if len(arms) == 1 or score.arm == "aligned"]
    if len({score.id for score in chosen}) != len(chosen):
        raise BadInputError(f"{name} holds an id twice")
    if not all(math.isfinite(value) for score in chosen for value in score.metrics.values()):
        raise BadInputError(f"{name} holds a metric that is not a finite number")
    return chosen


_TRUTH = ("report.items", "report.present", "closed.items", "closed.true_yes", "open.items", "pair.items")


def _same_truth(a: Score, b: Score) -> bool:
    """Whether two scores of one id count against the same truth."""
    return a.group == b.group and all(a.metrics.get(key) == b.metrics.get(key) for key in _TRUTH)


def _cooccurrences(scores: Sequence[Score]) -> list[Measure]:
    """The pairs of findings A -> B with enough items that have A and lack B."""
    truths = [_findings(score) for score in scores]
    labels = sorted({label for truth in truths for label in truth if ":" not in label})
    pairs = permutations(labels, 2)
    return [cooccurrence(a, b) for a, b in pairs if sum(_tempts(truth, a, b) for truth in truths) >= _ENOUGH]


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
    if not count:
        return 0.0, 0.0
    return sum(weight * score.metrics.get(key, 0.0) for key, weight in measure.numerator.items()), count


def _sums(scores: Sequence[Score], measures: Sequence[Measure], codes: np.ndarray) -> Sums:
    table = np.array([[_metrics(score, measure) for measure in measures] for score in scores], dtype=np.float64)
    return group_sums(table[:, :, 0], table[:, :, 1], codes)


def _arm_metrics(measures: Sequence[Measure], sums: Sums, draws: Floats) -> dict[str, Interval]:
    counted, groups = sums.denominator.sum(axis=0), (sums.denominator > 0).sum(axis=0)
    out = {}
    for k, measure in enumerate(measures):
        if counted[k] > 0:
            found = _interval(float(sums.value[k]), round(float(counted[k])), draws[:, k])
            out[measure.name] = _without_false_certainty(found, measure, int(groups[k]))
    return out


def _without_false_certainty(found: Interval, measure: Measure, groups: int) -> Interval:
    """A share that was 0 (or 1) in every group gets the exact interval over groups."""
    if measure.unit != "share" or found.low != found.high or found.value not in (0.0, 1.0):
        return found
    reach = never_seen(groups)
    low, high = (0.0, reach) if found.value == 0 else (1 - reach, 1.0)
    return msgspec.structs.replace(found, low=low, high=high)


def _differences(
    measures: Sequence[Measure],
    sums: Sums,
    change: Floats,
    draws: Floats,
    scores: tuple[Sequence[Score], Sequence[Score]],
) -> dict[str, Interval]:
    """Intervals of a difference, with p, and fixed and broken where outcomes are right or wrong."""
    counted = sums.denominator.sum(axis=0)
    out = {}
    for k, measure in enumerate(measures):
        if not math.isfinite(change[k]):
            continue
        fixed = broken = mcnemar = None
        if measure.outcome:
            fixed, broken = changes(measure.name, *scores)
            mcnemar = mcnemar_exact(fixed, broken) if measure.outcome == "item" else None
        base = _interval(float(change[k]), round(float(counted[k])), draws[:, k])
        out[measure.name] = Interval(
            value=base.value, n=base.n, low=base.low, high=base.high,
            p=sign_share(draws[:, k]) if base.low is not None else None,
            fixed=fixed, broken=broken, mcnemar=mcnemar,
        )  # fmt: skip
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
