"""Operations: cut to the words that differ, never empty, apart, and exactly reversible."""

import pytest

from medpo_cli.errors import RecordError
from medpo_cli.text.operations import Operation, apply


def replace(text: str, old: str, new: str, label: str | None = "nodule") -> Operation:
    start = text.index(old)
    return Operation(start, start + len(old), old, new, "status", label, "test")


def places(text: str, *operations: Operation) -> tuple[str, list[tuple[str, str]]]:
    edited = apply(text, operations)
    return edited.after, [(text[slice(*a)], edited.after[slice(*b)]) for a, b in edited.places]


def test_common_words_at_both_ends_stay_outside() -> None:
    text = "There is a small left pleural effusion."
    assert places(text, replace(text, text, "No pleural effusion.")) == (
        "No pleural effusion.",
        [("There is a small left", "No")],
    )


def test_an_insertion_takes_the_word_before() -> None:
    text = "It does show it."
    operation = Operation(7, 7, "", " not", "status", None, "test")
    assert places(text, operation) == ("It does not show it.", [("does", "does not")])


def test_an_insertion_at_the_start_takes_the_word_after() -> None:
    text = "effusion seen."
    operation = Operation(0, 0, "", "No ", "status", None, "test")
    assert places(text, operation) == ("No effusion seen.", [("effusion", "No effusion")])


def test_an_inserted_sentence_takes_word_and_full_stop() -> None:
    text = "Heart big. No nodule."
    operation = Operation(10, 10, "", " Left effusion.", "finding", "pleural_effusion", "test")
    assert places(text, operation) == ("Heart big. Left effusion. No nodule.", [("big.", "big. Left effusion.")])


def test_a_deletion_keeps_a_word_on_both_sides() -> None:
    text = "Heart big. No nodule."
    operation = Operation(10, 21, " No nodule.", "", "status", "nodule", "test")
    assert places(text, operation) == ("Heart big.", [("big. No nodule.", "big.")])


def test_two_insertions_at_one_place_become_one_with_both_labels() -> None:
    text = "Heart big. No nodule."
    first = Operation(10, 10, "", " A.", "finding", "a", "test")
    second = Operation(10, 10, "", " B.", "finding", "b", "test")
    edited = apply(text, [first, second])
    assert edited.after == "Heart big. A. B. No nodule."
    assert [operation.label for operation in edited.operations] == ["a+b"]


def test_an_insertion_behind_a_replaced_sentence_joins_it() -> None:
    text = "No nodule is seen. No pneumothorax."
    changed = replace(text, "No nodule is seen.", "A small nodule.")
    added = Operation(18, 18, "", " Left effusion.", "finding", "pleural_effusion", "test")
    edited = apply(text, [changed, added])
    assert edited.after == "A small nodule. Left effusion. No pneumothorax."
    (before, after), *rest = edited.places
    assert not rest
    assert text[: before[0]] + edited.after[slice(*after)] + text[before[1] :] == edited.after


def test_an_operation_without_effect_vanishes() -> None:
    text = "No nodule."
    assert apply(text, [replace(text, "nodule", "nodule")]).operations == ()


def test_words_that_do_not_stand_there_are_refused() -> None:
    with pytest.raises(RecordError) as caught:
        apply("No nodule.", [Operation(3, 9, "Nodule", "mass", "status", None, "test")])
    assert caught.value.reason == "anchor"


def test_overlapping_operations_are_refused() -> None:
    text = "a small nodule"
    with pytest.raises(RecordError) as caught:
        apply(text, [replace(text, "small nodule", "mass"), replace(text, "nodule", "mass")])
    assert caught.value.reason == "overlap"


def test_final_marks_stay_as_they_are() -> None:
    """Else one full stop of ".." would lie inside the span and one outside, which are one token."""
    text = "Heart big.. Lungs clear?"
    assert places(text, replace(text, "Heart big..", "Heart small.")) == (
        "Heart small.. Lungs clear?",
        [("big", "small")],
    )
    assert places(text, replace(text, "Lungs clear?", "Lungs full."))[0] == "Heart big.. Lungs full?"


def test_a_text_in_capitals_gets_capitals_and_an_abbreviation_does_not() -> None:
    assert places("NO NODULE.", replace("NO NODULE.", "NO", "A small"))[0] == "A SMALL NODULE."
    assert places("A NODULE.", replace("A NODULE.", "NODULE", "effusion"))[0] == "AN EFFUSION."
    assert places("CT", replace("CT", "CT", "Plain film"))[0] == "Plain film"
