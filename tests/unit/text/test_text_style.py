"""Statements in the style of an answer."""

import pytest

from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.style import Style, in_case_of, is_label_file, state, style_of

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("finding", "style", "attributes", "present", "absent"),
    [
        ("nodule", "sentence", ("left", "upper", "small"),
         "There is a small nodule in the left upper zone.", "No nodule is seen."),
        ("nodule", "label", ("left", "upper", "small"), "Small left upper nodule.", "No nodule."),
        ("nodule", "fronted", ("left", "upper", "large"),
         "On the left there is a large nodule in the upper part.", "On the left no nodule is seen."),
        ("nodule", "answer", ("left", None, "large"),
         "Yes, there is a large nodule on the left.", "No, there is no nodule on the left."),
        ("pleural_effusion", "sentence", ("left", None, "small"),
         "There is a small left pleural effusion.", "No left pleural effusion."),
        ("pleural_effusion", "sentence", (None, None, None), "There is a pleural effusion.", "No pleural effusion."),
        ("pleural_effusion", "answer", (None, None, None),
         "Yes, there is a pleural effusion.", "No, there is no pleural effusion."),
        ("pleural_effusion", "sentence", ("both", None, "small"),
         "There is small bilateral pleural effusion.", "No pleural effusion bilaterally."),
        ("opacity", "answer", ("both", "upper", None),
         "Yes, there is bilateral upper lobe opacity.", "No, there is no opacity bilaterally."),
        ("opacity", "fronted", ("both", None, None), "There is bilateral opacity.", "No opacity bilaterally."),
        ("nodule", "label", ("both", "apical", None), "Bilateral apical nodule.", "No bilateral nodule."),
        ("cardiomegaly", "sentence", (None, None, None), "The heart is enlarged.", "The heart is normal in size."),
        ("pulmonary_edema", "sentence", (None, None, "mild"), "There is mild pulmonary edema.", "No pulmonary edema."),
        ("acute_abnormality", "sentence", (None, None, None),
         "There is an acute cardiopulmonary abnormality.", "No acute cardiopulmonary abnormality."),
    ],
)  # fmt: skip
def test_statements(finding: str, style: Style, attributes: tuple[str | None, ...], present: str, absent: str) -> None:
    side, location, severity = attributes
    values = {"side": side, "location": location, "severity": severity}
    assert state(finding, "present", style, LEXICON, **values) == present
    assert state(finding, "absent", style, LEXICON, **values) == absent


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("Yes, there is a nodule.", "answer"),
        ("On the left there is a nodule.", "fronted"),
        ("The nodule is on the left.", "definite"),
        ("The heart is enlarged.", "sentence"),
        ("No pneumothorax.", "sentence"),
    ],
)
def test_style_of_a_sentence(text: str, style: str) -> None:
    assert style_of(text, extract(text, LEXICON)[0], label=False) == style


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cardiomegaly. Small left upper nodule.", True),
        ("No pneumothorax. No pleural effusion.", False),
        ("Cardiomegaly. There is a nodule.", False),
        ("Heart size within normal limits. Clear lungs. Negative for effusion.", False),
        ("", False),
    ],
)
def test_label_files_have_no_verb_and_name_something(text: str, expected: bool) -> None:
    assert is_label_file(text, LEXICON) is expected


@pytest.mark.parametrize(
    ("model", "word", "expected"), [("Left", "right", "Right"), ("left", "right", "right"), ("CT", "mri", "MRI")]
)
def test_capitals_are_kept(model: str, word: str, expected: str) -> None:
    assert in_case_of(model, word) == expected


def test_every_statement_of_the_lexicon_says_what_it_should() -> None:
    """Each template of each finding is read back as that finding, present and absent, in every style."""
    for finding, entry in LEXICON.findings.items():
        if entry.generic:
            continue
        side = "left" if entry.sides else None
        for style in ("sentence", "label", "answer"):
            for status in ("present", "absent"):
                text = state(finding, status, style, LEXICON, side=side)
                assert [(fact.finding, fact.status) for fact in extract(text, LEXICON)] == [(finding, status)], text
