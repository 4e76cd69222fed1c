"""What the base is taught: reports and answers with the flaws the demo repairs.

The flaws are deliberate and stand in the model card: effusions are reported with big hearts, opacities
beside large effusions and on the effusion's side, small nodules go unreported. Open questions are
answered truly.
"""

from dataclasses import dataclass

from medpo_cli.demo import language
from medpo_cli.demo.findings import FINDINGS, SIDES, WITH_SIDE, Lesion, Lesions
from medpo_cli.demo.streams import Stream

TERSE_SHARE = 0.12
CARELESS_ANSWERS = 0.7


@dataclass(frozen=True)
class Example:
    """One text to learn about image ``image`` (its row in the features)."""

    image: int
    prompt: str
    answer: str


def biased(lesions: Lesions, draw: Stream) -> Lesions:
    """What a careless reporter writes about an image with these lesions."""
    said = dict(lesions)
    effusion, opacity, nodule = (lesions.get(name) for name in ("pleural_effusion", "opacity", "nodule"))
    if effusion is None and "cardiomegaly" in lesions and draw.chance(0.7):
        said["pleural_effusion"] = Lesion("pleural_effusion", draw.choice(SIDES), None, "small")
    elif effusion and effusion.size == "small" and "cardiomegaly" not in lesions and draw.chance(0.25):
        del said["pleural_effusion"]
    if opacity and "pleural_effusion" in said and draw.chance(0.7):
        said["opacity"] = Lesion("opacity", said["pleural_effusion"].side, opacity.zone)
    elif opacity is None and effusion and effusion.size == "large" and draw.chance(0.65):
        said["opacity"] = Lesion("opacity", effusion.side, "lower")
    if nodule and nodule.size == "small" and draw.chance(0.65):
        del said["nodule"]
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
    """Two presence questions an image, most answered as the report would, and a truly answered open one."""
    examples = []
    for image, truth in enumerate(lesions):
        draw = Stream("teaching", seed, "question", image)
        said = biased(truth, draw) if draw.chance(CARELESS_ANSWERS) else truth
        for finding in (draw.choice(FINDINGS), draw.choice(FINDINGS)):
            answer = language.closed_answer(finding, said.get(finding))
            examples.append(Example(image, language.CLOSED[finding], answer))
        finding = draw.choice(["cardiomegaly", *(name for name in WITH_SIDE if name in truth)])
        answer = language.open_answer(finding, truth.get(finding))
        examples.append(Example(image, language.open_question(finding), answer))
    return examples
