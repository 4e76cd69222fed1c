"""Comparison of an answer's facts with the truth."""

import pytest

from medpo_cli.text.facts import Comparison, compare, contradictory, extract, meaning
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


def versus(said: str, truth: str) -> Comparison:
    return compare(extract(said, LEXICON), extract(truth, LEXICON))


def errors(said: str, truth: str) -> list[tuple[str, str]]:
    return [(match.finding, error) for match in versus(said, truth).matches for error in match.errors]


@pytest.mark.parametrize(
    ("said", "truth", "expected", "distance"),
    [
        ("No pneumothorax.", "No pneumothorax.", [], 0),
        ("There is a small left pneumothorax.", "No pneumothorax.", [("pneumothorax", "hallucinated")], 2),
        ("There is a small left pneumothorax.", "No nodule is seen.", [("pneumothorax", "hallucinated")], 2),
        ("No pneumothorax.", "There is a small left pneumothorax.", [("pneumothorax", "omitted")], 2),
        ("No nodule is seen.", "There is a small left pneumothorax.", [("pneumothorax", "omitted")], 2),
        ("There is a small left pneumothorax.", "There is a small right pneumothorax.", [("pneumothorax", "side")], 1),
        ("There is a small nodule in the left upper zone.", "There is a large nodule in the right lower zone.",
         [("nodule", "side"), ("nodule", "location"), ("nodule", "severity")], 3),
        ("9 mm nodule.", "12 mm nodule.", [("nodule", "size")], 1),
        ("12.4 mm nodule.", "12 mm nodule.", [], 0),
        ("The effusion has increased, worsening effusion.", "Stable effusion.",
         [("pleural_effusion", "change"), ("pleural_effusion", "change")], 2),
        ("Possible pneumothorax.", "No pneumothorax.", [("pneumothorax", "hedged")], 1),
        ("Pneumothorax.", "There is a small left pneumothorax.", [], 0),
        ("No effusion.", "No nodule.", [], 0),
    ],
)  # fmt: skip
def test_errors_and_distance(said: str, truth: str, expected: list[tuple[str, str]], distance: int) -> None:
    """Distance: 2 for a status, 1 for each attribute or hedge."""
    assert errors(said, truth) == expected
    assert versus(said, truth).distance == distance


LEFT = "On the left there is a large nodule in the upper part."
NO_RIGHT = "On the right no nodule is seen."


def test_statements_about_sides_are_paired_by_side() -> None:
    """A nodule on the wrong side is one hallucination and one omission where each side has a statement."""
    truth = "On the left no nodule is seen. On the right there is a small nodule in the lower part."
    assert errors(f"{LEFT} {NO_RIGHT}", truth) == [("nodule", "hallucinated"), ("nodule", "omitted")]
    assert errors(f"{LEFT} {NO_RIGHT}", f"{LEFT} {NO_RIGHT}") == []


def test_both_sides_against_each_side() -> None:
    assert errors("Bilateral pleural effusions.", "Left pleural effusion. Right pleural effusion.") == []
    assert errors("Bilateral pleural effusions.", "Left pleural effusion.") == [("pleural_effusion", "side")]


def test_saying_a_right_thing_twice_is_no_error_but_a_second_side_is() -> None:
    assert errors("Left effusion. Left effusion.", "Left effusion.") == []
    assert errors("Left effusion. Right effusion.", "Left effusion.") == [("pleural_effusion", "hallucinated")]


def test_contradictions_are_named_and_the_false_half_counts() -> None:
    said = "There is a small left pleural effusion. No pleural effusion."
    assert versus(said, "There is a small left pleural effusion.").contradictory == ("pleural_effusion",)
    assert errors(said, "There is a small left pleural effusion.") == [("pleural_effusion", "omitted")]
    assert contradictory(extract(f"{LEFT} {NO_RIGHT}", LEXICON)) == ()


def test_lists_by_kind() -> None:
    result = versus(
        "There is a small right pneumothorax. No nodule is seen. The heart is enlarged.",
        "There is a small left pneumothorax. There is a small nodule in the left upper zone. The heart is enlarged.",
    )
    assert [match.finding for match in result.side_errors] == ["pneumothorax"]
    assert [match.finding for match in result.omitted] == ["nodule"]
    assert [match.finding for match in result.right] == ["cardiomegaly"]
    assert (result.hallucinated, result.location_errors, result.severity_errors, result.size_errors) == ([], [], [], [])
    assert result.errors == 2


def test_meaning_ignores_wording_and_order() -> None:
    a = extract("No pneumothorax. Small left effusion.", LEXICON)
    b = extract("There is a tiny left pleural effusion. Pneumothorax is not seen.", LEXICON)
    assert meaning(a) == meaning(b)


def test_nothing_against_nothing() -> None:
    assert compare([], []).matches == ()
