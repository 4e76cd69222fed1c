"""One answer to one case: its counts, whatever the task."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.grounding import (
    answer_flips,
    answer_twin_flips,
    asserted,
    finding_flips,
    slug,
    twin_flips,
)
from medpo_cli.evaluation.overlap import overlap_counts
from medpo_cli.evaluation.profiles import Profile
from medpo_cli.evaluation.reports import drift, report_counts
from medpo_cli.schema.records import Case, Score
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon

_SHORT_NAME = re.compile(r"[a-z0-9][a-z0-9 _/-]{0,39}")
KINDS = {"report": "report", "vqa-closed": "closed", "vqa-open": "open"}
"""Prefix of a task's measures."""


def kind_of(case: Case) -> str:
    """Prefix of the case's measures."""
    return KINDS[case.task]


def answer_counts(
    case: Case, answer: str, lexicon: Lexicon, profile: Profile
) -> tuple[dict[str, float], dict[str, Any]]:
    """Counts of one answer under a profile, and for a report its findings for the score's ``ext``."""
    reference = case.reference or ""
    if case.task == "report":
        counts, findings = report_counts(answer, extract(answer, lexicon), extract(reference, lexicon))
        return counts | overlap_counts(answer, reference), {"findings": findings} if findings else {}
    if case.task == "vqa-open":
        return profile.open(answer, reference, lexicon), {}
    counts = profile.closed(answer, reference, lexicon)
    probe = probe_of(case)
    if probe is None:
        return counts, {}
    half = "adversarial" if probe["adversarial"] else "true"
    made = {f"closed.{half}_probes": 1.0, f"closed.{half}_right": counts["closed.right"]}
    return counts | made, {"probe": probe}


def probe_of(case: Case) -> dict[str, Any] | None:
    """What ``ext.probe`` says of a closed question: its ``pair``, its ``image``, and whether it is ``adversarial``.

    The halves of a pair are a true question and its adversary (a finding that is not there, a wrong side); all
    cases of one image name it alike, by default by ``group``.

    Raises:
        RecordError: ``probe-malformed``.
    """
    probe = (case.ext or {}).get("probe")
    if probe is None or case.task != "vqa-closed":
        return None
    image = (probe.get("image") or case.group or case.images[0].path) if isinstance(probe, dict) else None
    named = isinstance(probe, dict) and isinstance(probe.get("pair"), str) and isinstance(image, str)
    if not named or not isinstance(probe.get("adversarial"), bool):
        raise RecordError(
            "probe-malformed", "probe must hold pair (text) and adversarial (true or false)", "$.ext.probe"
        )
    if case.group is None:
        raise RecordError("probe-malformed", "a probe needs group: its pair must not be torn apart", "$.group")
    return {"pair": f"{image}/{probe['pair']}", "image": image, "adversarial": probe["adversarial"]}


def about_of(case: Case) -> dict[str, str]:
    """``organ`` and ``kind`` of a case's ``ext`` as short names; what is no short name is left out."""
    told = {key: str((case.ext or {}).get(key, "")).strip().lower() for key in ("organ", "kind")}
    return {key: value for key, value in told.items() if _SHORT_NAME.fullmatch(value)}


def mean_counts(answers: Sequence[dict[str, float]]) -> dict[str, float]:
    """Counts averaged over several answers to one case, so that the case keeps its weight."""
    keys = dict.fromkeys(key for counts in answers for key in counts)
    return {key: sum(counts.get(key, 0.0) for counts in answers) / len(answers) for key in keys}


def flip_counts(
    case: Case, clean: str, lesion: str | None, control: str | None, twins: Mapping[str, str], lexicon: Lexicon
) -> dict[str, float]:
    """Counts of what changed when lesions were destroyed, or taken out.

    Args:
        case: with the regions that were destroyed.
        clean: answer on the intact image.
        lesion: answer with the lesions destroyed; None if they were not.
        control: answer with an equal area elsewhere destroyed; None if there was none.
        twins: by finding, the answer on the same image without that lesion.
        lexicon: to read reports with.
    """
    kind = kind_of(case)
    counts: dict[str, float] = {}
    if kind != "report":
        if lesion is not None:
            counts |= answer_flips(kind, clean, lesion, control)
        return counts | (answer_twin_flips(kind, clean, list(twins.values())) if twins else {})
    before = asserted(extract(clean, lexicon))
    if lesion is not None:
        destroyed = frozenset(slug(region.label) for region in case.regions or [])
        other = None if control is None else asserted(extract(control, lexicon))
        counts |= finding_flips(before, asserted(extract(lesion, lexicon)), other, destroyed)
    if twins:
        counts |= twin_flips(before, {finding: asserted(extract(text, lexicon)) for finding, text in twins.items()})
    return counts


def with_drift(score: Score, base: Score) -> Score:
    """The score with how far its wording moved from the base's, where both answers are known."""
    if score.task is None or score.answer is None or base.answer is None:
        return score
    kind = KINDS[score.task]
    if f"{kind}.drift" in score.metrics:
        return score
    moved = {f"{kind}.drift_items": 1.0, f"{kind}.drift": drift(score.answer, base.answer)}
    return msgspec.structs.replace(score, metrics=score.metrics | moved)


def make_score(
    case: Case,
    arm: str,
    metrics: dict[str, float],
    profile: Profile,
    *,
    answer: str | None = None,
    ext: dict[str, Any] | None = None,
) -> Score:
    """A score record of one case and arm; ``ext.about`` says what the case is about, for tables by organ and kind."""
    about = about_of(case)
    ext = {**(ext or {}), **({"about": about} if about else {})}
    return Score(
        id=case.id,
        group=case.group,
        task=case.task,
        arm=arm,
        metrics=metrics,
        profile=profile.tag,
        answer=answer,
        ext=ext or None,
    )
