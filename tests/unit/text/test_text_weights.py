"""Weights, doubts, degrees, sentences and words of a pair, by hand."""

from typing import Any

import pytest

from medpo_cli.schema.records import Span
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.truth import Reading, ask, read
from medpo_cli.text.weights import clinical, degree, doubt, kept, word_weights

LEXICON = load_lexicon()
TRUTH = "The heart is enlarged. There is a small left pleural effusion. No pneumothorax."


def reading(text: str, task: str = "report", prompt: str = "Describe.") -> Reading:
    return read(text, ask(prompt, task, LEXICON), LEXICON)


def span(kind: Any = "status", label: str | None = "pneumothorax", **more: Any) -> Span:
    return Span(kind=kind, label=label, chosen=(0, 1), rejected=(0, 1), source="test", **more)


@pytest.mark.parametrize(
    ("spans", "weight"),
    [
        ([span()], 1.0),
        ([span("side")], 1.0),
        ([span("severity")], 0.8),
        ([span("status", "pleural_effusion")], 0.5),
        ([span("size", "scoliosis")], 0.2),  # 0.25 * 0.8
        ([span("status", "scoliosis"), span("location")], 0.8),  # the gravest one
        ([span("finding", "scoliosis+pneumothorax")], 1.0),
        ([span("answer", None)], 0.5),
        ([span("status", "of_a_user")], 0.5),
    ],
)
def test_clinical_weight_by_hand(spans: list[Span], weight: float) -> None:
    assert clinical(spans, LEXICON.urgency) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("spans", "reference", "flip"),
    [
        ([span(evidence=(0, 3))], TRUTH, 0.05),
        ([span()], TRUTH, 0.15),
        ([span(evidence=(0, 3))], "Possible pneumothorax.", 0.3),
        ([span(evidence=(0, 3), confidence=0.9)], TRUTH, 0.15),
        ([span(evidence=(0, 3)), span()], TRUTH, 0.15),  # the least sure one
        ([span(confidence=0.2)], TRUTH, 0.45),  # never as good as a coin
    ],
)
def test_flip_by_hand(spans: list[Span], reference: str, flip: float) -> None:
    assert doubt(spans, reading(reference)) == pytest.approx(flip)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (TRUTH, 0),
        # right 2, wrong 1, missed 1: F1 4/6, a third lost: second quarter
        (TRUTH.replace("left", "right"), 2),
        # right 2, missed 1: F1 4/5, a fifth lost
        (TRUTH.replace(" No pneumothorax.", ""), 1),
        # right 1, missed 2: F1 2/4
        ("The heart is enlarged.", 2),
        ("I cannot tell.", 4),
    ],
)
def test_degree_by_hand(answer: str, lost: int) -> None:
    question = ask("Describe.", "report", LEXICON)
    assert degree(reading(answer), reading(TRUTH), question, LEXICON) == lost


def test_degree_of_a_closed_answer_is_all_or_nothing() -> None:
    question = ask("Is there a nodule?", "vqa-closed", LEXICON)
    truth, right, wrong = (read(text, question, LEXICON) for text in ("Yes.", "Yes, there is.", "No."))
    assert (degree(right, truth, question, LEXICON), degree(wrong, truth, question, LEXICON)) == (0, 4)


def sentences_of(text: str, edited: list[tuple[int, int]], *, right: bool, truth: str = TRUTH) -> list[str]:
    return [text[slice(*place)] for place in kept(reading(text), reading(truth), edited, right=right)]


def test_right_and_wrong_sentences() -> None:
    answer = "The heart is enlarged. There is a small right pleural effusion. No pneumothorax. Normal study date."
    place = answer.index("right")
    edited = [(place, place + 5)]
    assert sentences_of(answer, edited, right=True) == ["The heart is enlarged.", "No pneumothorax."]
    assert sentences_of(answer, edited, right=False) == ["There is a small right pleural effusion."]


def test_a_sentence_with_a_right_and_a_wrong_fact_is_wrong() -> None:
    answer = "The heart is enlarged and there is a small right pleural effusion. No pneumothorax."
    assert sentences_of(answer, [], right=True) == ["No pneumothorax."]
    assert sentences_of(answer, [], right=False) == [answer.removesuffix(" No pneumothorax.")]


def test_what_the_reference_does_not_mention_is_neither() -> None:
    answer = "No rib fracture. The heart is enlarged."
    assert sentences_of(answer, [], right=True) == ["The heart is enlarged."]
    assert sentences_of(answer, [], right=False) == []


def test_a_right_sentence_that_an_insertion_touches_is_not_wrong() -> None:
    answer = "The heart is enlarged. No pneumothorax."
    assert sentences_of(answer, [(13, 22)], right=False) == []


def test_a_bare_word_is_what_its_side_is() -> None:
    assert sentences_of("Axial.", [(0, 5)], right=True, truth="Axial") == ["Axial."]
    assert sentences_of("Coronal.", [(0, 7)], right=False, truth="Axial") == ["Coronal."]


def test_words_of_facts_weigh_more_than_others_and_edited_ones_most() -> None:
    answer = "There is a small left pleural effusion."
    found = word_weights(reading(answer), [(17, 21)])
    assert {answer[start:end]: weight for start, end, weight in found} == {
        "small": 1.0,
        "left": 1.3,
        "pleural effusion": 1.0,
    }
