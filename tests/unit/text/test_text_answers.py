"""Yes, no and closed sets."""

import pytest

from medpo_cli.text.answers import commitment, commitment_at, members
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("No, there is no nodule.", "no"),
        ("Yes, there is no doubt.", "yes"),
        ("The nodule is normal.", None),
        ("Nothing, noted; eyes.", None),
        ("There is NO effusion", "no"),
        ("no-one", None),
        ("", None),
    ],
)
def test_first_whole_word_commits(text: str, expected: str | None) -> None:
    assert commitment(text) == expected


def test_commitment_at_points_at_the_word() -> None:
    assert commitment_at("Well, yes.") == (6, 9)
    assert commitment_at("nodule") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("On the left.", {"side": "left"}),
        ("left and right", {}),
        ("MR", {"modality": "mri"}),
        ("An X-ray", {"modality": "x-ray"}),
        ("axial CT", {"plane": "axial", "modality": "ct"}),
        ("transverse", {"plane": "axial"}),
        ("leftover", {}),
        ("", {}),
    ],
)
def test_closed_sets_need_exactly_one_value(text: str, expected: dict[str, str]) -> None:
    assert {name: member.value for name, member in members(text, LEXICON).items()} == expected
