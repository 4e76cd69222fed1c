"""Reports against the truth: every count by hand, and the whole against a slow closed-world twin."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.evaluation.reports import drift, report_counts, statements
from medpo_cli.text.facts import compare, extract
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()
TRUTH = (
    "The heart is normal in size. There is a small nodule in the left upper zone. No focal opacity is seen. "
    "There is a small left pleural effusion. No pneumothorax."
)


def _counts(answer: str, truth: str = TRUTH) -> dict[str, float]:
    counts, _ = report_counts(answer, extract(answer, LEXICON), extract(truth, LEXICON))
    return {key.removeprefix("report."): value for key, value in counts.items()}


def _findings(answer: str, truth: str = TRUTH) -> dict[str, dict[str, object]]:
    return report_counts(answer, extract(answer, LEXICON), extract(truth, LEXICON))[1]


def test_the_truth_is_all_right() -> None:
    counts = _counts(TRUTH)
    assert (counts["statements"], counts["right"], counts["right_full"], counts["all_right"]) == (5, 5, 5, 1)
    assert (counts["present"], counts["absent"], counts["asserted"], counts["expected"]) == (2, 3, 2, 5)
    assert (counts["missing"], counts["contradictory"]) == (0, 0)


@pytest.mark.parametrize(
    ("old", "new", "error", "right"),
    [
        ("The heart is normal in size.", "The heart is enlarged.", "hallucinated", 4),
        ("There is a small left pleural effusion.", "No pleural effusion.", "omitted", 4),
        ("small left pleural", "small right pleural", "side_errors", 4),
        ("left upper zone", "left lower zone", "location_errors", 5),
        ("small left pleural", "large left pleural", "severity_errors", 5),
    ],
)
def test_each_error_is_counted_once(old: str, new: str, error: str, right: int) -> None:
    counts = _counts(TRUTH.replace(old, new))
    assert counts[error] == 1
    assert (counts["right"], counts["right_full"], counts["all_right"]) == (right, 4, 0)
    others = ("hallucinated", "omitted", "hedged", "side_errors", "location_errors", "severity_errors", "size_errors")
    assert sum(counts[name] for name in others) == 1


def test_measured_size_differs() -> None:
    truth, answer = "There is a 12 mm nodule.", "There is a 21 mm nodule."
    assert _counts(answer, truth)["size_errors"] == 1


def test_a_finding_not_mentioned_is_not_asserted_but_missing() -> None:
    counts = _counts("Small left upper nodule. Left pleural effusion.")
    assert (counts["right"], counts["missing"], counts["omitted"]) == (5, 3, 0)
    counts = _counts("Left pleural effusion.")
    assert (counts["right"], counts["missing"], counts["omitted"]) == (4, 4, 1)


def test_denials_the_reference_is_silent_on_count_for_nothing() -> None:
    truth = "There is a small left pleural effusion."
    counts = _counts(truth + " No pneumothorax. No nodule is seen.", truth)
    assert (counts["statements"], counts["right"], counts["absent"]) == (1, 1, 0)


def test_assertions_the_reference_is_silent_on_are_hallucinated() -> None:
    truth = "There is a small left pleural effusion."
    counts = _counts(truth + " There is a large right pneumothorax.", truth)
    assert (counts["statements"], counts["right"], counts["absent"], counts["hallucinated"]) == (2, 1, 1, 1)


@pytest.mark.parametrize("extra", ["No pleural effusion.", "There is a large right pneumothorax."])
def test_a_contradiction_is_wrong(extra: str) -> None:
    counts = _counts(f"{TRUTH} {extra}")
    assert (counts["contradictory"], counts["right"], counts["statements"], counts["all_right"]) == (1, 4, 5, 0)


def test_contradiction_is_named_in_the_findings() -> None:
    entry = _findings(f"{TRUTH} No pleural effusion.")["pleural_effusion"]
    assert entry == {"truth": "present", "said": "contradictory", "right": False, "errors": ["omitted"]}


def test_repeating_a_statement_gains_and_loses_nothing() -> None:
    assert _counts(f"{TRUTH} No pneumothorax.")["statements"] == 5
    once, twice = _counts("The heart is enlarged."), _counts("The heart is enlarged. The heart is enlarged.")
    assert (once["hallucinated"], once["statements"]) == (twice["hallucinated"], twice["statements"])


def test_a_second_lesion_is_an_extra_statement() -> None:
    findings = _findings(TRUTH + " There is a large nodule in the right lower zone.")
    assert findings["nodule"]["right"] is True
    assert findings["nodule:extra"]["errors"] == ["hallucinated"]


def test_sides_that_the_truth_tells_apart_are_statements_of_their_own() -> None:
    truth = "On the left there is a large nodule in the upper part. On the right no nodule is seen."
    answer = "On the left no nodule is seen. On the right no nodule is seen."
    counts = _counts(answer, truth)
    assert (counts["statements"], counts["right"], counts["omitted"], counts["hallucinated"]) == (2, 1, 1, 0)
    assert list(_findings(answer, truth)) == ["nodule:left", "nodule:right"]
    assert _counts(truth, truth)["all_right"] == 1


def test_a_reference_without_facts_is_not_judged() -> None:
    counts = _counts("The heart is enlarged.", "Please correlate.")
    assert (counts["judged"], counts["statements"], counts["all_right"]) == (0, 0, 0)


def test_words_of_vector_10_hold_two_errors() -> None:
    """N-gram scores give this pair .76; the facts must flag both errors."""
    truth = "The heart is normal in size. There is a small left pleural effusion. No pneumothorax."
    said = "The heart is mildly enlarged. There is a small right pleural effusion. No pneumothorax."
    counts = _counts(said, truth)
    assert (counts["hallucinated"], counts["side_errors"], counts["right"]) == (1, 1, 1)
    assert (counts["facts_shared"], counts["facts_both"]) == (2, 6)  # F1 .67: effusion and pneumothorax, of 3 and 3
    assert (counts["tuples_shared"], counts["tuples_both"]) == (1, 6)  # the effusion is on the other side
    assert (counts["covered"], counts["present"], counts["hallucinating"]) == (1, 1, 1)


def test_facts_without_a_truth_and_said_twice_do_not_count() -> None:
    silent = _counts("The heart is enlarged.", "Please correlate.")
    assert (silent["facts_shared"], silent["facts_both"], silent["tuples_both"]) == (0, 0, 0)
    twice = _counts(TRUTH + " " + TRUTH)
    assert twice["tuples_shared"] == 5
    assert twice["tuples_both"] == 10


CHANGES = {
    "new": "New {}.",
    "worse": "The {} has increased.",
    "better": "The {} has improved.",
    "stable": "Unchanged {}.",
    "": "There is a {}.",
}
TOLD = st.dictionaries(st.sampled_from(["pleural effusion", "nodule", "pneumothorax"]), st.sampled_from([*CHANGES]))


@settings(deadline=None)
@given(TOLD, TOLD.filter(bool))
def test_temporal_f1_against_what_was_written(said: dict[str, str], truth: dict[str, str]) -> None:
    """Its twin reads no text: it knows which changes the sentences were made of."""

    def text(told: dict[str, str]) -> str:
        return " ".join(CHANGES[change].format(finding) for finding, change in told.items())

    counts = _counts(text(said), text(truth))
    ours, theirs = ([(finding, one) for finding, one in told.items() if one] for told in (said, truth))
    assert counts["changes_shared"] == sum(one in theirs for one in ours)
    assert counts["changes_both"] == len(ours) + len(theirs)


FINDINGS = {
    "cardiomegaly": ("The heart is enlarged.", "The heart is normal in size."),
    "nodule": ("There is a small nodule in the {} upper zone.", "No nodule is seen."),
    "opacity": ("There is a patchy opacity in the {} lower zone.", "No focal opacity is seen."),
    "pleural_effusion": ("There is a small {} pleural effusion.", "No pleural effusion."),
    "pneumothorax": ("There is a large {} pneumothorax.", "No pneumothorax."),
}
World = dict[str, str | None]


def _world(generator: random.Random) -> World:
    return {name: generator.choice([None, None, "left", "right"]) for name in FINDINGS}


def _report(world: World) -> str:
    return " ".join(FINDINGS[name][0].format(side) if side else FINDINGS[name][1] for name, side in world.items())


def test_counts_equal_a_closed_world_twin() -> None:
    generator = random.Random(0)
    for _ in range(200):
        truth, said = _world(generator), _world(generator)
        counts = _counts(_report(said), _report(truth))
        both = [name for name in FINDINGS if truth[name] and said[name]]
        sides = sum(truth[name] != said[name] for name in both if name != "cardiomegaly")
        assert counts["hallucinated"] == sum(bool(said[n]) and not truth[n] for n in FINDINGS)
        assert counts["omitted"] == sum(bool(truth[n]) and not said[n] for n in FINDINGS)
        assert counts["side_errors"] == sides
        assert counts["right"] == 5 - counts["hallucinated"] - counts["omitted"] - sides
        assert counts["absent"] == sum(side is None for side in truth.values())
        assert counts["asserted"] == sum(side is not None for side in said.values())
        assert counts["covered"] == len(both)
        assert counts["hallucinating"] == (counts["hallucinated"] > 0)
        agreed = sum(bool(truth[n]) == bool(said[n]) for n in FINDINGS)
        assert (counts["facts_shared"], counts["facts_both"]) == (agreed, 10)
        assert (counts["tuples_shared"], counts["tuples_both"]) == (agreed - sides, 10)


def test_statements_keep_labels_whatever_was_said() -> None:
    truth = extract(TRUTH, LEXICON)
    for answer in (TRUTH, "", "No pleural effusion. Left pleural effusion."):
        labels = [row.label for row in statements(compare(extract(answer, LEXICON), truth), truth)]
        assert sorted(labels) == sorted(FINDINGS)


@pytest.mark.parametrize(
    ("answer", "base", "expected"),
    [
        ("a b c d", "a b c d", 0.0),
        ("A, b c. d", "a b c d", 0.0),  # punctuation and case are not wording
        ("a x c d", "a b c d", 0.25),
        ("a b", "a b c d", 0.5),
        ("", "a", 1.0),
        ("", "", 0.0),
        ("b a", "a b", 1.0),
    ],
)
def test_drift(answer: str, base: str, expected: float) -> None:
    assert drift(answer, base) == expected
    assert drift(base, answer) == expected
