"""The closed language: a small table, and the round trip of every sentence."""

import pytest

from medpo_cli.demo import language
from medpo_cli.demo.build.measure import all_lesions, read_report
from medpo_cli.demo.findings import FINDINGS, Lesion

HEART = Lesion("cardiomegaly")
NODULE = Lesion("nodule", "left", "upper", "small")
OPACITY = Lesion("opacity", "right", "lower")
EFFUSION = Lesion("pleural_effusion", "left", None, "small")
AIR = Lesion("pneumothorax", "right", None, "large")
ALL = {lesion.finding: lesion for lesion in (HEART, NODULE, OPACITY, EFFUSION, AIR)}


def test_report_with_everything():
    assert language.report(ALL) == (
        "The heart is enlarged. There is a small nodule in the left upper zone. "
        "There is a patchy opacity in the right lower zone. There is a small left pleural effusion. "
        "There is a large right pneumothorax."
    )


def test_report_with_nothing():
    assert language.report({}) == (
        "The heart is normal in size. No nodule is seen. No focal opacity is seen. No pleural effusion. "
        "No pneumothorax."
    )


def test_order_is_fixed_whatever_the_order_of_the_lesions():
    turned = dict(reversed(ALL.items()))
    assert list(turned) != list(ALL)
    assert language.report(turned) == language.report(ALL)


@pytest.mark.parametrize(
    ("lesions", "text"),
    [
        ({}, "No findings."),
        ({"cardiomegaly": HEART, "nodule": NODULE}, "Cardiomegaly. Small left upper nodule."),
        ({"opacity": OPACITY}, "Right lower opacity."),
        ({"pleural_effusion": EFFUSION, "pneumothorax": AIR}, "Left pleural effusion. Right pneumothorax."),
    ],
)
def test_terse(lesions, text):
    assert language.terse_report(lesions) == text


@pytest.mark.parametrize(
    ("finding", "lesion", "question", "answer"),
    [
        ("cardiomegaly", HEART, "Is the heart enlarged?", "Yes, the heart is enlarged."),
        ("cardiomegaly", None, "Is the heart enlarged?", "No, the heart is normal in size."),
        ("nodule", NODULE, "Is there a nodule?", "Yes, there is a small nodule in the left upper zone."),
        ("opacity", None, "Is there a focal opacity?", "No, there is no focal opacity."),
        (
            "pleural_effusion",
            EFFUSION,
            "Is there a pleural effusion?",
            "Yes, there is a small left pleural effusion.",
        ),
        ("pneumothorax", None, "Is there a pneumothorax?", "No, there is no pneumothorax."),
    ],
)
def test_closed(finding, lesion, question, answer):
    assert language.CLOSED[finding] == question
    assert language.closed_answer(finding, lesion) == answer


def test_open():
    assert language.open_question("pleural_effusion") == "Which side is the pleural effusion on?"
    assert language.open_answer("pleural_effusion", EFFUSION) == "The pleural effusion is on the left."
    assert language.open_question("cardiomegaly") == "How large is the heart?"
    assert language.open_answer("cardiomegaly", None) == "The heart is normal in size."


def test_an_absent_lesion_has_no_side():
    with pytest.raises(ValueError, match="no nodule"):
        language.open_answer("nodule", None)


def test_every_lesion_comes_back_from_its_report():
    # 1 heart + 2*3*2 nodules + 2*3 opacities + 2*2 effusions + 2*2 pneumothoraces = 27 lesions
    lesions = [lesion for finding in FINDINGS for lesion in all_lesions(finding)]
    assert len(lesions) == 27
    for lesion in lesions:
        said = read_report(language.report({lesion.finding: lesion}))
        assert said == {finding: lesion if finding == lesion.finding else None for finding in FINDINGS}
