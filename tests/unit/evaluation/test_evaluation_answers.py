"""Short answers: vectors 2, 6, 7 and 14 (profile medpo) and slow twins of each count."""

import numpy as np
import pytest

from medpo_cli.evaluation.answers import closed_counts, normalise, open_counts, overlap, stance
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.schema.records import Score
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


def test_vector_2_repeats_count_once_per_reference_token() -> None:
    # shared = min(3, 1) = 1; P = 1/3, R = 1/2, F1 = 2 (1/6) / (5/6) = .4
    found = overlap("left left left", "left lung")
    assert found.f1 == pytest.approx(0.4)
    assert found.precision == pytest.approx(0.333333, abs=1e-6)
    assert found.recall == 0.5


@pytest.mark.parametrize(
    ("answer", "reference", "right", "unparsed"),
    [
        ("Yes, there is a nodule.", "yes", 1, 0),  # vector 6: no "no" in "nodule"
        ("The heart is normal", "no", 0, 1),  # vector 7: no "no" in "normal"
        ("yes.", "Yes", 1, 0),
        ("No.", "Yes, there is a small left pleural effusion.", 0, 0),
        ("", "yes", 0, 1),
    ],
)
def test_closed_by_commitment(answer: str, reference: str, right: int, unparsed: int) -> None:
    counts = closed_counts(answer, reference, LEXICON)
    assert (counts["closed.right"], counts["closed.unparsed"]) == (right, unparsed)


@pytest.mark.parametrize(
    ("answer", "reference", "right", "unparsed"),
    [
        ("It is on the left.", "left", 1, 0),
        ("It is on the right.", "left", 0, 0),
        ("I cannot say.", "left", 0, 1),
        ("Kidney", "kidney", 1, 0),
        ("Spleen", "kidney", 0, 0),
        ("", "kidney", 0, 1),
    ],
)
def test_closed_with_options(answer: str, reference: str, right: int, unparsed: int) -> None:
    counts = closed_counts(answer, reference, LEXICON)
    assert (counts["closed.right"], counts["closed.unparsed"]) == (right, unparsed)
    assert "closed.yes_no" not in counts


def test_vector_14_predicted_yes_rate_and_precision() -> None:
    said, truth = "y y n y y n n n".split(), "y y y n n n n n".split()
    words = {"y": "yes", "n": "no"}
    scores = [
        Score(id=str(k), metrics=closed_counts(words[a], words[b], LEXICON), profile="medpo/1", arm="given")
        for k, (a, b) in enumerate(zip(said, truth, strict=True))
    ]
    metrics = summarise({"given": scores}, resamples=100, seed=0, versions={})[0].metrics
    # tp 2, said yes 4, true yes 3: P 2/4, R 2/3, F1 4/7
    assert metrics["closed.accuracy"].value == 0.625
    assert metrics["closed.precision"].value == 0.5
    assert metrics["closed.recall"].value == pytest.approx(0.6667, abs=5e-5)
    assert metrics["closed.f1"].value == pytest.approx(0.5714, abs=5e-5)
    assert metrics["closed.yes_rate"].value == 0.5
    assert metrics["closed.true_yes_rate"].value == 0.375
    assert metrics["closed.accuracy"].n == 8


@pytest.mark.parametrize(
    ("prediction", "reference", "exact"),
    [("Left lung.", "left  lung", 1), ("X-ray", "x ray", 1), ("3.2 cm", "32 cm", 0), ("", "left", 0), ("", "", 1)],
)
def test_exact_match_is_normalised(prediction: str, reference: str, exact: int) -> None:
    assert open_counts(prediction, reference)["open.exact"] == exact


def test_normalise_keeps_decimals_whole_and_composes() -> None:
    assert normalise("A 2.3 CM Nodule; e\u0301") == ["a", "2.3", "cm", "nodule", "\u00e9"]


def _slow_overlap(prediction: list[str], reference: list[str]) -> tuple[float, float, float]:
    """By crossing shared words off one by one."""
    if not prediction and not reference:
        return 1.0, 1.0, 1.0
    left, shared = list(reference), 0
    for word in prediction:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0, 0.0, 0.0
    p, r = shared / len(prediction), shared / len(reference)
    return p, r, 2 / (1 / p + 1 / r)


def test_overlap_equals_crossing_off() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        a, b = ([str(word) for word in generator.choice(list("abcd"), size=generator.integers(0, 7))] for _ in "ab")
        assert overlap(" ".join(a), " ".join(b)) == pytest.approx(_slow_overlap(a, b))


def test_stance_ignores_wording_of_a_commitment() -> None:
    assert stance("Yes, on the left.") == stance("yes") != stance("no")
    assert stance("left") != stance("right")
