"""Every side of every pair is made of well-formed statements, whatever was wrong with the answer."""

from collections import Counter

import pytest
from data.injector import inject
from data.true_reports import DOMAINS
from data.wellformed import faults, words

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.lexicon import FOLDER, load_lexicon

REPORTS = 60
LEXICON = load_lexicon()
KNOWN = words(" ".join(path.read_text() for path in FOLDER.glob("*.toml"))) | words(
    "there is are yes in on bilaterally"
)


def pairs(said: str, truth: str) -> list[Pair]:
    sample = Sample(
        id="w", image=ImageRef(path="x.png"), prompt="Describe the image.", reference=truth, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=said)],
    )  # fmt: skip
    return list(run([sample], EditConfig(per_sample=4, normality_cap=1.0), Context(reject=lambda _id, _error: None)))


def made_faults(said: str, truth: str) -> list[str]:
    """Faults that neither text had."""
    known = KNOWN | words(said) | words(truth)
    before = Counter(faults(said, known)) + Counter(faults(truth, known))
    texts = [text for pair in pairs(said, truth) for text in (pair.chosen, pair.rejected) if text != said]
    return [f"{fault} in {text!r}" for text in texts for fault in Counter(faults(text, known)) - before]


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_pairs_of_wrong_and_of_true_reports(domain: str) -> None:
    for seed in range(REPORTS):
        wrong = inject(domain, seed)
        for said in (wrong.said, wrong.truth):
            assert made_faults(said, wrong.truth) == [], seed


@pytest.mark.parametrize(
    ("said", "truth"),
    [
        ("There is a severe right pneumothorax.", "A mild left pneumothorax is seen."),
        ("A right pneumothorax. Moderate pleural thickening.", "No pneumothorax. Mild pleural thickening."),
        ("A small nodule is seen.", "An 8 mm nodule is seen in the left lower lobe. No effusion."),
        ("No pleural thickening. The heart is enlarged.", "Bilateral pleural thickening. The heart is normal in size."),
        ("Clear lungs bilaterally. No edema.", "Opacities in both lungs with small bilateral effusions. No edema."),
        ("Mild right basal atelectasis.", "Mild bibasilar atelectasis. No pneumothorax."),
        ("Mild bibasilar atelectasis. No edema.", "Mild left basal atelectasis. No edema."),
        ("Lungs are clear without consolidation, effusion, or pneumothorax.", "Moderate effusions. Normal heart."),
        ("Heart size and cardiomediastinal silhouette are unremarkable.", "The heart is severely enlarged."),
        ("- Cardiomegaly.\n- Small effusion.\n- No edema.", "No effusion. Mild edema. The heart is enlarged."),
        ("No focal consolidation, no effusion seen. No edema.", "Left consolidation, no effusion seen. No edema."),
        ("The heart is normal and the lungs are clear.", "The heart is enlarged and the lungs are clear."),
        ("A small effusion and a nodule are seen.", "A nodule is seen in the left lung. No effusion."),
        ("SMALL LEFT EFFUSION AND EDEMA ARE SEEN.", "SMALL RIGHT EFFUSION IS SEEN."),
    ],
)  # fmt: skip
def test_wordings_that_invite_a_collision(said: str, truth: str) -> None:
    assert made_faults(said, truth) == []
    assert made_faults(truth, truth) == []


@pytest.mark.parametrize(
    "text",
    ["Ahere is a nodule.", "Ao right effusion.", "Moderatet effusion.", "No both effusion.", "The the heart.",
     "A edema.", "An nodule.", "No effusion. edema.", "No effusion, or.", "No  effusion.", "No effusion..",
     "No effusion ."],
)  # fmt: skip
def test_the_check_sees_faults(text: str) -> None:
    assert faults(text, KNOWN)
    assert faults("There is an opacity in the left lobe. No effusion.", KNOWN) == []
