"""Profiles of published harnesses: vectors 1 to 8 of the survey, computed there by running the harnesses."""

import pytest

from medpo_cli.evaluation.profiles import PROFILES
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Score
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()
LESION = "The lesion is in the left lung."


def _open(profile: str, prediction: str, reference: str) -> tuple[float, float, float]:
    """F1, precision, recall."""
    counts = PROFILES[profile].open(prediction, reference, LEXICON)
    return counts["open.f1"], counts["open.precision"], counts["open.recall"]


def _right(profile: str, prediction: str, reference: str) -> float:
    return PROFILES[profile].closed(prediction, reference, LEXICON)["closed.right"]


@pytest.mark.parametrize(
    ("profile", "prediction", "reference", "expected"),
    [
        ("llavamed", LESION, "left lung", (0.571429, 0.4, 1.0)),  # 1: lesion is in left lung, 2 of 5
        ("llavamed", "left left left", "left lung", (0.857143, 1.0, 0.75)),  # 2: repeats count
        ("medpo", "left left left", "left lung", (0.4, 0.333333, 0.5)),  # 2
        ("llavamed", "no evidence of pneumothorax", "pneumothorax", (0.4, 0.25, 1.0)),  # 3: blind to negation
        ("llavamed", "two", "2", (1.0, 1.0, 1.0)),  # 4: number words
        ("medevalkit", LESION, "left lung", (0.25, 1 / 6, 0.5)),  # 5: "lung." is no "lung"
        ("medevalkit-asreported", LESION, "left lung", (0.5, 0.25, 1 / 6)),  # 5: swapped columns
        ("llavamed", "the left-sided, upper lobe.", "left sided upper lobe", (1.0, 1.0, 1.0)),
        ("llavamed", "", "left lung", (0.0, 0.0, 0.0)),
        ("medevalkit", "", "left lung", (0.0, 0.0, 0.0)),  # the harness raises here
    ],
)
def test_open_vectors(profile: str, prediction: str, reference: str, expected: tuple[float, float, float]) -> None:
    assert _open(profile, prediction, reference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        # medpo, llavamed, medevalkit, lmms-slake
        ("Yes, there is a nodule.", "yes", (1, 1, 0, 0)),  # 6: "no" in "nodule"
        ("The heart is normal", "no", (0, 1, 1, 0)),  # 7: "no" in "normal"
        ("yes.", "yes", (1, 1, 1, 1)),
        ("True", "yes", (0, 0, 0, 1)),
        ("The answer is: no", "no", (1, 1, 1, 0)),
        ("Left lung.", "left lung", (1, 0, 1, 1)),  # llavamed wants a yes or no in every closed answer
        ("", "yes", (0, 0, 0, 0)),
    ],
)
def test_closed_vectors(prediction: str, reference: str, expected: tuple[int, ...]) -> None:
    profiles = ("medpo", "llavamed", "medevalkit", "lmms-slake")
    assert tuple(_right(profile, prediction, reference) for profile in profiles) == expected


@pytest.mark.parametrize(
    ("prediction", "reference"), [("CT (computed tomography)", "CT"), ("X-Ray", "xray"), ("YES!", "yes")]
)
def test_vector_8_lmms_slake_equality(prediction: str, reference: str) -> None:
    assert PROFILES["lmms-slake"].open(prediction, reference, LEXICON)["open.exact"] == 1


def test_lmms_slake_knows_only_equality() -> None:
    counts = PROFILES["lmms-slake"].open("left lung", "lung", LEXICON)
    assert counts == {"open.items": 1, "open.exact_items": 1, "open.exact": 0, "open.words": 2}


@pytest.mark.parametrize("text", ["\\boxed{No}", "<answer>No</answer>", "It seems so. Final answer: no"])
def test_medevalkit_reads_the_final_answer(text: str) -> None:
    assert _right("medevalkit", "yes and " + text, "no") == 1


def test_llavamed_has_no_exact_match_and_says_so_by_leaving_it_out() -> None:
    counts = PROFILES["llavamed"].open(LESION, "left lung", LEXICON)
    scores = [Score(id="a", arm="given", metrics=counts, profile=PROFILES["llavamed"].tag)]
    summary = summarise({"given": scores}, resamples=100, seed=0, versions={})[0]
    assert "open.exact" not in summary.metrics
    assert summary.metrics["open.recall"].value == 1.0
    assert summary.profile == "llavamed/1"


def test_the_setting_offers_every_profile() -> None:
    assert [EvalConfig(profile=name).profile for name in PROFILES] == list(PROFILES)  # type: ignore[arg-type]
    assert EvalConfig().profile == "medpo"
