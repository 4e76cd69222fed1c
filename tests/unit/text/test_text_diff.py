"""Word-level differences."""

import pytest

from medpo_cli.text.diff import difference


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a left lung", "a right lung", [("left", "right")]),
        ("The heart is enlarged.", "The heart is normal in size.", [("enlarged", "normal in size")]),
        ("2.3 cm", "3.2 cm", [("2.3", "3.2")]),
        ("it does show", "it does not show", [("", "not ")]),
        ("same", "same", []),
        ("", "new", [("", "new")]),
        ("left upper and right", "right lower and right", [("left upper", "right lower")]),
    ],
)
def test_spans_are_whole_words(first: str, second: str, expected: list[tuple[str, str]]) -> None:
    found = [(first[slice(*a)], second[slice(*b)]) for a, b in difference(first, second)]
    assert found == expected


def test_frequent_words_are_not_junk() -> None:
    """With autojunk on, words above 1 % of a text of 200 and more no longer match."""
    first = "no effusion . " * 100 + "left"
    second = "no effusion . " * 100 + "right"
    assert [(first[slice(*a)], second[slice(*b)]) for a, b in difference(first, second)] == [("left", "right")]


def test_undoing_the_spans_gives_the_other_text() -> None:
    first, second = "No  pneumothorax.\nHeart big.", "A small pneumothorax.\nHeart is big!"
    rebuilt, position = "", 0
    for (start, end), (a, b) in difference(first, second):
        rebuilt += first[position:start] + second[a:b]
        position = end
    assert rebuilt + first[position:] == second
