"""Whether answers depend on the lesion: what changes when it is destroyed, and when it is not.

Every flip is measured beside its control (an equal area elsewhere), because a model that answers
anything under any change would otherwise look grounded. Report mode counts findings that are
asserted on the intact image and no longer on the other; short answers count as a whole.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from medpo_cli.evaluation.answers import stance
from medpo_cli.text.facts import Fact


def slug(label: str) -> str:
    """A region's label as a finding id: lower-case, spaces and hyphens as underscores."""
    return "_".join(label.lower().replace("-", " ").split())


def asserted(facts: Iterable[Fact]) -> frozenset[str]:
    """Findings said to be present."""
    return frozenset(fact.finding for fact in facts if fact.status == "present")


def finding_flips(
    clean: frozenset[str], lesion: frozenset[str], control: frozenset[str] | None, destroyed: frozenset[str]
) -> dict[str, float]:
    """Counts of one report.

    Args:
        clean: findings asserted on the intact image.
        lesion: asserted where the lesions are destroyed.
        control: asserted where an equal area elsewhere is; None if there was no room for one.
        destroyed: findings whose regions were destroyed; only those have a chance to flip.
    """
    chances = clean & destroyed
    flips = None if control is None else len(chances - control)
    return _flips("report", len(chances), len(chances - lesion), flips)


def answer_flips(kind: str, clean: str, lesion: str, control: str | None) -> dict[str, float]:
    """Counts of one short answer: whether what it commits to changed."""
    flips = None if control is None else int(stance(control) != stance(clean))
    return _flips(kind, 1, int(stance(lesion) != stance(clean)), flips)


def _flips(kind: str, chances: int, lesion: int, control: int | None) -> dict[str, float]:
    """Flips out of chances; the excess over the control only where there is a control."""
    counts = {"lesion_chances": chances, "flips_lesion": lesion}
    if control is not None:
        counts |= {"control_chances": chances, "flips_control": control, "flips_excess": lesion - control}
    return {f"{kind}.{name}": float(count) for name, count in counts.items()}


def twin_flips(clean: frozenset[str], without: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Counts of one report on true counterfactuals.

    Args:
        clean: findings asserted on the image.
        without: for each finding, what is asserted on the same image without that lesion.
    """
    chances = [finding for finding in without if finding in clean]
    return {
        "report.twin_chances": float(len(chances)),
        "report.flips_twin": float(sum(finding not in without[finding] for finding in chances)),
    }


def answer_twin_flips(kind: str, clean: str, without: Sequence[str]) -> dict[str, float]:
    """Counts of one short answer on the same image without the lesion asked about."""
    return {
        f"{kind}.twin_chances": float(len(without)),
        f"{kind}.flips_twin": float(sum(stance(answer) != stance(clean) for answer in without)),
    }


def span_counts(clean: float, lesion: float | None, control: float | None) -> dict[str, float]:
    """Counts of one pair from the log-probability (nats) of the edited tokens of its chosen side on each image."""
    if lesion is None:
        return {}
    lost = clean - lesion
    counts = {"pair.drops": 1.0, "pair.drop_lesion": lost}
    if control is None:
        return counts
    other = clean - control
    return counts | {
        "pair.drops_controlled": 1.0,
        "pair.drop_control": other,
        "pair.drop_excess": lost - other,
        "pair.drops_specific": float(lost > other),
    }


def blind_counts(kind: str, name: str, found: Mapping[str, float], *, changed: bool) -> dict[str, float]:
    """Counts of one answer that did not see the right picture, from its counts against the truth.

    Args:
        kind: report, closed or open.
        name: what it saw instead, ``blank`` or ``swapped``.
        found: its counts under the profile.
        changed: whether it commits to something else than with the right picture.
    """
    right, judged = {"report": ("right", "statements"), "closed": ("right", "items"), "open": ("exact", "exact_items")}[
        kind
    ]
    return {
        f"{kind}.{name}_items": 1.0,
        f"{kind}.{name}_changed": float(changed),
        f"{kind}.{name}_judged": found.get(f"{kind}.{judged}", 0.0),
        f"{kind}.{name}_right": found.get(f"{kind}.{right}", 0.0),
    }


def probability_counts(yes: float, no: float, truth: bool) -> dict[str, float]:
    """Counts of one yes/no question from the log-probabilities (nats) that its answer begins with yes, and with no.

    p(yes) is the softmax over the two. Rounded, so that how questions were batched does not show.
    """
    p = round(1 / (1 + math.exp(min(no - yes, 700.0))), 4)
    return {
        "closed.probable": 1.0,
        "closed.p_yes": p,
        "closed.brier": (p - truth) ** 2,
        "closed.mass": round(math.exp(yes) + math.exp(no), 4),
    }


def preference_counts(clean: float, lesion: float | None = None, control: float | None = None) -> dict[str, float]:
    """Counts of one pair from its margins log p(chosen) - log p(rejected) in nats.

    A reversal needs the right preference on the intact image and the opposite on the other.
    """
    counts = {"pair.items": 1.0, "pair.preferred": float(clean > 0), "pair.margin": clean}
    for name, margin in (("lesion", lesion), ("control", control)):
        if margin is not None:
            counts[f"pair.{name}s"] = 1.0
            counts[f"pair.reversals_{name}"] = float(clean > 0 and margin < 0)
    return counts
