"""Spans and the regions they are about."""

import pytest

from medpo_cli.schema.records import Region, Span
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.ties import tied

LEXICON = load_lexicon()
TEXT = "There is a small left pleural effusion. A nodule is seen in the right upper lobe. The heart is normal in size."
BOX = (0.0, 0.0, 9.0, 9.0)


def span(word: str, label: str | None) -> Span:
    start = TEXT.index(word)
    return Span(kind="other", label=label, chosen=(start, start + len(word)), rejected=(start, start + 1), source="r")


def ties(labels: list[str], *spans: Span, text: str = TEXT) -> list[tuple[int, ...] | None]:
    regions = [Region(label=label, box=BOX) for label in labels]
    return [one.regions for one in tied(spans, regions, text, LEXICON)]


def test_each_span_has_its_own_region() -> None:
    spans = span("left", "pleural_effusion"), span("upper", "nodule"), span("normal", "cardiomegaly")
    assert ties(["nodule", "Pleural effusion"], *spans) == [(1,), (0,), None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["left pleural effusion", "right pleural effusion"], (0,)),
        (["Pleural_Effusion_Right", "pleural_effusion_left"], (1,)),
        (["right effusion", "pleural effusion"], (1,)),  # no side fits either; "effusion" is a synonym
        (["right pleural effusion"], None),
        (["pleural effusion", "pleural effusion"], (0, 1)),
        (["left nodule"], None),
        (["left"], None),
    ],
)
def test_the_side_of_the_right_text_decides(labels: list[str], expected: tuple[int, ...] | None) -> None:
    assert ties(labels, span("small", "pleural_effusion")) == [expected]


def test_what_says_no_side_or_both_fits_either() -> None:
    labels = ["left pleural effusion", "right pleural effusion"]
    for text in ("There is a small pleural effusion.", "There are small bilateral pleural effusions."):
        start = text.index("small")
        one = Span(kind="severity", label="pleural_effusion", chosen=(start, start + 5), rejected=(0, 1), source="r")
        assert ties(labels, one, text=text) == [(0, 1)]


def test_spans_without_label_or_regions_are_not_tied() -> None:
    assert ties(["nodule"], span("left", None)) == [None]
    assert ties([], span("left", "nodule")) == [None]
    assert ties(["nodule", "opacity"], span("left", "nodule+opacity")) == [(0, 1)]
