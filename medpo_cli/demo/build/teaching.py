"""What the base is taught: true questions and answers, and reports with the flaws the demo repairs.

The flaws are deliberate and stand in the model card: effusions are reported with big hearts, small
nodules go unreported, opacities slip to the side of the effusion.
"""

from dataclasses import dataclass

from medpo_cli.demo import language
from medpo_cli.demo.findings import FINDINGS, WITH_SIDE, Lesion, Lesions
from medpo_cli.demo.streams import Stream

TERSE_SHARE = 0.12


@dataclass(frozen=True)
class Example:
    """One text to learn about image ``image`` (its row in the features)."""

    image: int
    prompt: str
    answer: str


def biased(lesions: Lesions, draw: Stream) -> Lesions:
    """What a careless reporter writes about an image with these lesions."""
    said = dict(lesions)
    effusion = said.get("pleural_effusion")
    if effusion is None and "cardiomegaly" in lesions and draw.chance(0.55):
        side = draw.choice(("left", "right"))
        said["pleural_effusion"] = Lesion("pleural_effusion", side, None, "small")
    elif effusion and effusion.size == "small" and "cardiomegaly" not in lesions and draw.chance(0.25):
        del said["pleural_effusion"]
    nodule, opacity, effusion = said.get("nodule"), said.get("opacity"), said.get("pleural_effusion")
    if nodule and nodule.size == "small" and draw.chance(0.55):
        del said["nodule"]
    if opacity and effusion and draw.chance(0.6):
        said["opacity"] = Lesion("opacity", effusion.side, opacity.zone)
    return said


def reports(lesions: list[Lesions], seed: int) -> list[Example]:
    """One biased report an image, some in label-file style."""
    examples = []
    for image, truth in enumerate(lesions):
        draw = Stream("teaching", seed, "report", image)
        said = biased(truth, draw)
        text = language.terse_report(said) if draw.chance(TERSE_SHARE) else language.report(said)
        examples.append(Example(image, language.REPORT_PROMPT, text))
    return examples


def questions(lesions: list[Lesions], seed: int) -> list[Example]:
    """Two presence questions and one open question an image, answered truly."""
    examples = []
    for image, truth in enumerate(lesions):
        draw = Stream("teaching", seed, "question", image)
        for finding in (draw.choice(FINDINGS), draw.choice(FINDINGS)):
            answer = language.closed_answer(finding, truth.get(finding))
            examples.append(Example(image, language.CLOSED[finding], answer))
        finding = draw.choice(["cardiomegaly", *(name for name in WITH_SIDE if name in truth)])
        answer = language.open_answer(finding, truth.get(finding))
        examples.append(Example(image, language.open_question(finding), answer))
    return examples
