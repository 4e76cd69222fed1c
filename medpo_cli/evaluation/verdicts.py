"""A judge's verdicts as counts of a score, their agreement with the rules, and what a summary says of the judge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.statistics import Floats, divide
from medpo_cli.schema.records import Judged, Score
from medpo_cli.text.judging import ERRORS, TEXTS, Grade

CELLS = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")
"""What the judge said, then what the rules say."""
_ALWAYS = ("judge_asked", "judge_unparsed", "judge_pairs", "judge_preferred")
KINDS = ("report", "open")


def rules_say_right(kind: str, counts: Mapping[str, float]) -> bool | None:
    """Whether the rules find no error: every fact of a report as in the reference, a short answer equal to it.

    None where they cannot tell: a reference without facts, a profile without equality.
    """
    told, right = ("judged", "all_right") if kind == "report" else ("exact_items", "exact")
    return counts.get(f"{kind}.{right}", 0.0) >= 1 if counts.get(f"{kind}.{told}") else None


def grade_counts(kind: str, grades: Sequence[Grade | None], rules: Sequence[bool | None]) -> dict[str, float]:
    """Counts of one case: means over its answers, so that it keeps its weight.

    Args:
        kind: prefix of the task's measures.
        grades: of each answer; None where no reply was usable: it counts as unparsed and for nothing else.
        rules: of each answer, whether the rules find it right.
    """
    told = [(grade, rule) for grade, rule in zip(grades, rules, strict=True) if grade is not None]
    counts = {"judge_asked": 1.0, "judge_unparsed": (len(grades) - len(told)) / len(grades)}
    if told:
        counts |= {"judge_items": 1.0}
        counts |= {f"judge_{name}": _share([one.verdict == name for one, _ in told]) for name in ("right", "wrong")}
        counts |= {f"judge_{name}": _share([name in one.errors for one, _ in told]) for name in ERRORS}
    both = [(one.verdict == "right", rule) for one, rule in told if rule is not None]
    if both:
        names = [f"{'right' if one else 'wrong'}_{'right' if rule else 'wrong'}" for one, rule in both]
        counts |= {"judge_ruled": 1.0}
        counts |= {f"judge_{cell}": _share([name == cell for name in names]) for cell in CELLS}
    return {f"{kind}.{name}": value for name, value in counts.items()}


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def agreement_entries(score: Score, kind: str) -> list[tuple[float, bool, str]]:
    """The cells of judge and rules that a score fills: how much, whether the rules say right, what the judge says."""
    found = []
    for cell in CELLS:
        count, (said, rule) = score.metrics.get(f"{kind}.judge_{cell}", 0.0), cell.split("_")
        if count:
            found.append((count, rule == "right", said))
    return found


def kappa(counts: Floats, rules: np.ndarray, said: Sequence[str], weights: Floats) -> Floats:
    """Cohen's kappa (1960) of two raters who say right or wrong: (observed - chance) / (1 - chance).

    Args:
        counts: weight of each entry [N].
        rules: bool [N], the first rater.
        said: N times ``right`` or ``wrong``, the second rater.
        weights: [R, N], how often a draw holds each entry.

    Returns:
        [R]; NaN where a draw is empty, or both raters always say the same one thing.
    """
    judge = np.array([one == "right" for one in said], dtype=bool)
    cells = [judge & rules, judge & ~rules, ~judge & rules, ~judge & ~rules]
    table = weights @ (np.stack(cells, axis=1) * counts[:, None])
    total = table.sum(axis=1)
    both, one, other, none = (divide(table[:, k], total) for k in range(4))
    chance = (both + one) * (both + other) + (none + one) * (none + other)
    return divide(both + none - chance, np.where(np.isclose(chance, 1.0), 0.0, 1 - chance))


def alike(arms: Mapping[str, Sequence[Sequence[Score]]]) -> dict[str, list[list[Score]]]:
    """Runs in which a verdict counts only where every judged run has one, so that all are averaged over the same items.

    Args:
        arms: runs by arm, all with the same items in the same order. One that no judge has seen stays as it is.
    """
    out = {name: [list(scores) for scores in runs] for name, runs in arms.items()}
    for kind in KINDS:
        judged = [run for runs in out.values() for run in runs if any(f"{kind}.judge_asked" in s.metrics for s in run)]
        for k in range(len(judged[0]) if judged else 0):
            if not all(run[k].metrics.get(f"{kind}.judge_items") for run in judged):
                for run in judged:
                    run[k] = _without_verdict(run[k], kind)
    return out


def _without_verdict(score: Score, kind: str) -> Score:
    kept = {f"{kind}.{name}" for name in _ALWAYS}
    left = {key: one for key, one in score.metrics.items() if key in kept or not key.startswith(f"{kind}.judge_")}
    return msgspec.structs.replace(score, metrics=left)


def note(score: Score) -> dict[str, Any]:
    """What ``ext.judge`` of a score says: model, prompt, reported, verdicts; empty where no judge was asked."""
    found = (score.ext or {}).get("judge", {})
    return found if isinstance(found, dict) else {}


def _judge(score: Score) -> tuple[str, str, str]:
    told = note(score)
    return str(told.get("model", "")), str(told.get("prompt", "")), str(told.get("reported", ""))


def _verdicts(score: Score) -> list[dict[str, Any]]:
    return list(note(score).get("verdicts", []))


def _spoke(score: Score) -> bool:
    """Whether a verdict was given: only then does the server's name of the model stand there."""
    return any("verdict" in one for one in _verdicts(score))


def check_judges(runs: Mapping[str, Sequence[Score]]) -> None:
    """Verdicts of one judge under one prompt, in all runs that were judged.

    Raises:
        BadInputError: a run has several, or two runs have different ones.
    """
    first: tuple[str, tuple[str, str, str]] | None = None
    for name, scores in runs.items():
        found = {_judge(score) for score in scores if _spoke(score)}
        if len(found) > 1:
            raise BadInputError(f"{name} holds verdicts of several judges or prompts")
        for one in found:
            if first is not None and first[1] != one:
                raise BadInputError(f"{first[0]} and {name} were judged by different models or under different prompts")
            first = first or (name, one)


def judged(scores: Sequence[Score]) -> Judged | None:
    """What the summary of an arm says of its judge; None without verdicts."""
    told = [score for score in scores if note(score)]
    if not told:
        return None
    model, prompt, reported = _judge(next(filter(_spoke, told), told[0]))
    verdicts = [verdict for score in told for verdict in _verdicts(score)]
    reasons = Counter(str(verdict["unparsed"]) for verdict in verdicts if "unparsed" in verdict)
    return Judged(
        mode="grade",
        model=model,
        reported=reported or None,
        prompt=prompt,
        prompt_text=TEXTS.get(prompt),
        asked=len(verdicts),
        unparsed=reasons.total(),
        reasons=dict(sorted(reasons.items())),
    )
