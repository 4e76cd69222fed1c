"""Flips, their controls, and preference reversal; by hand."""

import pytest

from medpo_cli.evaluation.grounding import (
    answer_flips,
    answer_twin_flips,
    asserted,
    finding_flips,
    preference_counts,
    slug,
    twin_flips,
)
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_only_asserted_findings_that_were_destroyed_can_flip() -> None:
    counts = finding_flips(
        clean=_set("nodule", "opacity", "cardiomegaly"),
        lesion=_set("opacity"),
        control=_set("nodule", "opacity", "cardiomegaly"),
        destroyed=_set("nodule", "opacity", "pneumothorax"),
    )
    # chances nodule, opacity; nodule is withdrawn; nothing under the control
    assert counts == {
        "report.lesion_chances": 2,
        "report.flips_lesion": 1,
        "report.control_chances": 2,
        "report.flips_control": 0,
        "report.flips_excess": 1,
    }


def test_a_model_that_flips_at_anything_has_no_specificity() -> None:
    counts = finding_flips(_set("nodule"), _set(), _set(), _set("nodule"))
    assert (counts["report.flips_lesion"], counts["report.flips_excess"]) == (1, 0)


def test_without_control_there_is_no_specificity() -> None:
    counts = finding_flips(_set("nodule"), _set(), None, _set("nodule"))
    assert counts == {"report.lesion_chances": 1, "report.flips_lesion": 1}


@pytest.mark.parametrize(
    ("lesion", "control", "flips"),
    [("No.", "Yes, it is.", (1, 0, 1)), ("yes", "no", (0, 1, -1)), ("Yes indeed", "yes", (0, 0, 0))],
)
def test_short_answers_flip_by_commitment(lesion: str, control: str, flips: tuple[int, int, int]) -> None:
    counts = answer_flips("closed", "Yes.", lesion, control)
    assert tuple(counts[f"closed.flips_{name}"] for name in ("lesion", "control", "excess")) == flips


def test_twins() -> None:
    counts = twin_flips(_set("nodule", "opacity"), {"nodule": _set("opacity"), "opacity": _set("nodule", "opacity")})
    assert counts == {"report.twin_chances": 2, "report.flips_twin": 1}
    assert twin_flips(_set(), {"nodule": _set()})["report.twin_chances"] == 0
    assert answer_twin_flips("closed", "yes", ["no", "yes"]) == {"closed.twin_chances": 2, "closed.flips_twin": 1}


@pytest.mark.parametrize(
    ("clean", "lesion", "control", "expected"),
    [
        (2.0, -1.0, 1.5, (1, 1, 0)),
        (2.0, 0.5, -0.1, (1, 0, 1)),
        (-2.0, 1.0, 1.0, (0, 0, 0)),  # wrong to begin with: no reversal
        (0.0, -1.0, -1.0, (0, 0, 0)),  # a tie prefers nothing
        (1.0, 0.0, 0.0, (1, 0, 0)),
    ],
)
def test_reversal(clean: float, lesion: float, control: float, expected: tuple[int, int, int]) -> None:
    counts = preference_counts(clean, lesion, control)
    got = tuple(counts[f"pair.{name}"] for name in ("preferred", "reversals_lesion", "reversals_control"))
    assert got == expected


def test_reversal_is_not_counted_without_its_image() -> None:
    assert preference_counts(1.5) == {"pair.items": 1, "pair.preferred": 1, "pair.margin": 1.5}


def test_asserted_reads_statuses() -> None:
    facts = extract("There is a small left pleural effusion. No pneumothorax.", load_lexicon())
    assert asserted(facts) == _set("pleural_effusion")


def test_slug() -> None:
    assert slug("Pleural  Effusion") == slug("pleural-effusion") == "pleural_effusion"
