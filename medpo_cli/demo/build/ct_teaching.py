"""What the CT base is taught: true answers to questions, and reports with two mild, deliberate flaws.

A report sometimes mentions a small second nodule on the empty side beside a large one, and sometimes
leaves a small nodule out. Both stand in the model card; they are what alignment can repair.
"""

from medpo_cli.demo.build.ct_pictures import Pictures
from medpo_cli.demo.build.teaching import Example
from medpo_cli.demo.ct import language
from medpo_cli.demo.ct.scenes import PARTS, SIDES, SIZES
from medpo_cli.demo.streams import Stream

Said = dict[str, tuple[str, str]]
"""By side: size and part of the nodule said to be there."""


def truth_of(data: Pictures, row: int) -> Said:
    """What picture ``row`` shows."""
    shown = {}
    for number, side in enumerate(SIDES):
        present, large, lower = data.truth[row, number].tolist()
        if present:
            shown[side] = SIZES[large], PARTS[lower]
    return shown


def flawed(truth: Said, draw: Stream, *, satellite: float, unreported: float) -> Said:
    """What a careless reporter writes; the arguments are the probabilities of the two flaws."""
    said = dict(truth)
    for side, other in (SIDES, SIDES[::-1]):
        if side not in truth and truth.get(other, ("",))[0] == "large" and draw.chance(satellite):
            said[side] = "small", draw.choice(PARTS)
        elif truth.get(side, ("",))[0] == "small" and draw.chance(unreported):
            del said[side]
    return said


def report(said: Said) -> str:
    """The report in words."""
    return " ".join(language.present(side, *said[side]) if side in said else language.absent(side) for side in SIDES)


def reports(data: Pictures, seed: int, *, satellite: float, unreported: float) -> list[Example]:
    """One flawed report a picture."""
    examples = []
    for row in range(len(data.grey)):
        said = flawed(
            truth_of(data, row), Stream("ct", seed, "report", row), satellite=satellite, unreported=unreported
        )
        examples.append(Example(row, language.REPORT_PROMPT, report(said)))
    return examples


def questions(data: Pictures, seed: int) -> list[Example]:
    """One presence question and, where there is a nodule, one open question a picture, answered truly."""
    examples = []
    for row in range(len(data.grey)):
        truth, draw = truth_of(data, row), Stream("ct", seed, "question", row)
        side = draw.choice(SIDES)
        answer = language.closed_answer(side, truth[side][0] if side in truth else None)
        examples.append(Example(row, language.closed_question(side), answer))
        if len(truth) == 1:
            examples.append(Example(row, language.SIDE_QUESTION, language.side_answer(next(iter(truth)))))
        elif truth:
            examples.append(Example(row, language.size_question(side), language.size_answer(side, truth[side][0])))
    return examples
