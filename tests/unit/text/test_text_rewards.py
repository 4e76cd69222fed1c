"""Rewards: F1 by hand, closed and bare answers, edit distance against the table it stands for."""

import random
import time

import pytest

from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.rewards import Kind, levenshtein, reward, similarity
from medpo_cli.text.truth import ask, read

TRUTH = (
    "The heart is enlarged. There is a small nodule in the left upper zone. No focal opacity is seen. "
    "There is a small left pleural effusion. No pneumothorax."
)
NORMAL = (
    "The heart is normal in size. No nodule is seen. No focal opacity is seen. No pleural effusion. No pneumothorax."
)
LEXICON = load_lexicon()


def rewarded(
    answer: str, reference: str, kind: Kind = "facts", task: str = "report", prompt: str = "Describe."
) -> float:
    question = ask(prompt, task, LEXICON)
    return reward(kind, read(answer, question, LEXICON), read(reference, question, LEXICON), question, LEXICON)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TRUTH, 1.0),
        # 4 right; one wrong side, and the effusion on the left missed: 2 * 4 / (2 * 4 + 1 + 1)
        (TRUTH.replace("left pleural", "right pleural"), 0.8),
        # 4 right, nothing wrong, one missed: 8 / 9
        (TRUTH.replace(" No pneumothorax.", ""), 8 / 9),
        # opacity and pneumothorax right; heart, nodule, effusion denied and missed: 4 / (4 + 3 + 3)
        (NORMAL, 0.4),
        # all right, and one made up: 10 / (10 + 1)
        (f"{TRUTH} There is a rib fracture.", 10 / 11),
        # a denial of what the reference does not mention, and saying a thing twice, count nothing
        (f"{TRUTH} No rib fracture. The heart is enlarged.", 1.0),
        # one right (the heart), four missed, and the same heart once denied: 2 / (2 + 1 + 4)
        ("The heart is enlarged. The heart is normal in size.", 2 / 7),
        ("I cannot tell.", 0.0),
    ],
)
def test_fact_f1_by_hand(answer: str, expected: float) -> None:
    assert rewarded(answer, TRUTH) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("No, there is no nodule.", "No.", 1.0),
        ("Yes, there is a nodule.", "No.", 0.0),
        ("There is a nodule.", "Yes.", 0.0),  # commits to nothing
        ("It is an axial image.", "Axial", 1.0),
        ("Coronal plane", "Axial", 0.0),
        ("Brain.", "Axial", 0.0),
        ("the LIVER", "The liver.", 1.0),
        ("the spleen", "The liver.", 0.0),
    ],
)
@pytest.mark.parametrize("kind", ["facts", "exact"])
def test_closed_questions_are_right_or_wrong(answer: str, reference: str, expected: float, kind: Kind) -> None:
    assert rewarded(answer, reference, kind, "vqa-closed", "Is there a nodule?") == expected


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Left.", "The nodule is on the left.", 1.0),
        ("Right.", "The nodule is on the left.", 0.0),
        ("The nodule is on the left.", "Left", 1.0),
        ("The nodule is on the right.", "The nodule is on the left.", 0.0),
        ("An MRI of the brain", "An MRI of the brain.", 1.0),
        ("A CT", "An MRI of the brain.", 0.0),
    ],
)
def test_short_open_answers(answer: str, reference: str, expected: float) -> None:
    assert rewarded(answer, reference, "facts", "vqa-open", "Which side is the nodule on?") == expected


def test_exact_of_an_open_answer_is_the_same_words() -> None:
    assert rewarded("no focal opacity is seen", "No focal opacity is seen.", "exact") == 1.0
    assert rewarded("No opacity is seen.", "No focal opacity is seen.", "exact") == 0.0


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("äöü", "aou", 3)],
)
def test_edit_distance_by_hand(first: str, second: str, distance: int) -> None:
    assert levenshtein(first, second) == distance
    longest = max(len(first), len(second))
    assert similarity(first, second) == (1 - distance / longest if longest else 1.0)
    assert rewarded("kitten", "sitting", "edit-distance") == pytest.approx(1 - 3 / 7)


def test_edit_distance_equals_the_table() -> None:
    draw = random.Random(0)
    for _ in range(300):
        a, b = ("".join(draw.choices("abcé", k=draw.randrange(90))) for _ in range(2))
        assert levenshtein(a, b) == _table(a, b)


def _table(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above = row
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def test_pages_of_text_take_no_time() -> None:
    draw = random.Random(1)
    a, b = ("".join(draw.choices("abcdefghij ", k=5000)) for _ in range(2))
    start = time.process_time()
    levenshtein(a, b)
    assert time.process_time() - start < 1.0
