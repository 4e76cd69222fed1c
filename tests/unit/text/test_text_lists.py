"""One finding taken out of a list."""

import pytest

from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.lists import without

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("sentence", "finding", "rest"),
    [
        ("No pneumothorax or pleural effusion.", "pneumothorax", "No pleural effusion."),
        ("No pneumothorax or pleural effusion.", "pleural_effusion", "No pneumothorax."),
        ("There is no pneumothorax or large pleural effusion.", "pneumothorax", "There is no large pleural effusion."),
        ("There is no focal consolidation, effusion, or pneumothorax.", "consolidation",
         "There is no effusion or pneumothorax."),
        ("There is no focal consolidation, effusion, or pneumothorax.", "pleural_effusion",
         "There is no focal consolidation or pneumothorax."),
        ("There is no focal consolidation, effusion, or pneumothorax.", "pneumothorax",
         "There is no focal consolidation or effusion."),
        ("No pneumothorax, edema, nodule, or pleural effusion.", "nodule",
         "No pneumothorax, edema, or pleural effusion."),
        ("No pneumothorax, edema, nodule or pleural effusion.", "pulmonary_edema",
         "No pneumothorax, nodule or pleural effusion."),
        ("The lungs are clear without evidence of effusion, pneumothorax or nodule.", "pleural_effusion",
         "The lungs are clear without evidence of pneumothorax or nodule."),
        ("The heart is enlarged and there is a small effusion.", "cardiomegaly", "There is a small effusion."),
        ("The heart is normal and the lungs are clear.", "cardiomegaly", "The lungs are clear."),
        ("Small left pleural effusion and basal atelectasis.", "atelectasis", "Small left pleural effusion."),
        ("Small left pleural effusion and basal atelectasis.", "pleural_effusion", "Basal atelectasis."),
        ("There is a small left pleural effusion and an opacity.", "pleural_effusion", "There is an opacity."),
        ("A small effusion and a nodule are seen.", "nodule", "A small effusion is seen."),
        ("A small effusion and a nodule are seen.", "pleural_effusion", "A nodule is seen."),
        ("There are bilateral effusions and a nodule.", "pleural_effusion", "There is a nodule."),
        ("No focal consolidation, no pleural effusion.", "consolidation", "No pleural effusion."),
        ("There is no consolidation and no pleural effusion.", "consolidation", "There is no pleural effusion."),
        ("Effusions, edema and nodules are seen.", "pulmonary_edema", "Effusions and nodules are seen."),
    ],
)  # fmt: skip
def test_what_is_left(sentence: str, finding: str, rest: str) -> None:
    assert without(sentence, [finding], LEXICON) == rest


@pytest.mark.parametrize(
    ("sentence", "finding"),
    [
        ("No pleural effusion.", "pleural_effusion"),
        ("No effusion or edema.", "nodule"),
        ("Bibasilar changes.", "edema"),
        ("Low lung volumes, causing bibasilar atelectasis.", "low_lung_volumes"),
    ],
)
def test_nothing_else_or_not_in_the_list(sentence: str, finding: str) -> None:
    assert without(sentence, [finding], LEXICON) is None
