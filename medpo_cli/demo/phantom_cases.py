"""The cases of a phantom: a report, two yes/no questions and an open one."""

from collections.abc import Iterator

from medpo_cli.demo import language
from medpo_cli.demo.cases import Drawing, Question
from medpo_cli.demo.findings import FINDINGS, WITH_SIDE, Lesions
from medpo_cli.demo.phantom import phantom
from medpo_cli.demo.streams import Stream


def drawings(split: str, images: int, seed: int) -> Iterator[Drawing]:
    """The first ``images`` phantoms of a split, findings independent of each other."""
    for index in range(images):
        image = phantom(split, seed, index)
        found = image.lesions
        yield Drawing(
            name=f"phantom-{split}-{index:06d}",
            picture=image.picture,
            masks={finding: image.region(finding) for finding in found},
            twins={} if split == "train" else {finding: image.twin(finding) for finding in found},
            questions=questions(found, Stream("phantom", split, seed, index, "questions")),
        )


def questions(found: Lesions, draw: Stream) -> list[Question]:
    """The report; a yes/no question about a finding that is there and one that is not, where both exist."""
    terse = {"terse": language.terse_report(found)}
    cases = [
        Question("report", "report", language.REPORT_PROMPT, language.report(found), tuple(found), terse),
    ]
    present, absent = list(found), [finding for finding in FINDINGS if finding not in found]
    asked = [draw.choice(present or absent)]
    asked.append(draw.choice([finding for finding in absent or present if finding != asked[0]]))
    for finding in asked:
        answer = language.closed_answer(finding, found.get(finding))
        cases.append(Question(f"closed-{finding}", "vqa-closed", language.CLOSED[finding], answer, (finding,)))
    finding = draw.choice(["cardiomegaly", *(name for name in WITH_SIDE if name in found)])
    answer = language.open_answer(finding, found.get(finding))
    cases.append(Question(f"open-{finding}", "vqa-open", language.open_question(finding), answer, (finding,)))
    return cases
