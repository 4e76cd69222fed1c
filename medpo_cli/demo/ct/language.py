"""What is said about a CT crop: one statement a side, and questions about one side.

``left`` and ``right`` are the patient's, as on any axial picture: left is the picture's right half.
"""

from collections.abc import Mapping

from medpo_cli.demo.ct.scenes import PARTS, SIDES, SIZES, Nodule

REPORT_PROMPT = "Describe the nodules on each side of this chest CT crop."
SIDE_QUESTION = "Which side is the nodule on?"


def present(side: str, size: str, part: str) -> str:
    """The statement about a side that holds a nodule."""
    return f"On the {side} there is a {size} nodule in the {part} part."


def absent(side: str) -> str:
    """The statement about a side without one."""
    return f"On the {side} no nodule is seen."


def statement(side: str, nodule: Nodule | None) -> str:
    """The report's sentence about a side."""
    return absent(side) if nodule is None else present(side, nodule.size, nodule.part)


def report(nodules: Mapping[str, Nodule]) -> str:
    """Two sentences, left first."""
    return " ".join(statement(side, nodules.get(side)) for side in SIDES)


def closed_question(side: str) -> str:
    """Whether a side holds a nodule."""
    return f"Is there a nodule on the {side}?"


def closed_answer(side: str, size: str | None) -> str:
    """The answer: ``size`` of the side's nodule, None where there is none."""
    return f"Yes, there is a {size} nodule on the {side}." if size else f"No, there is no nodule on the {side}."


def size_question(side: str) -> str:
    """The open question where both sides hold a nodule."""
    return f"How large is the nodule on the {side}?"


def size_answer(side: str, size: str) -> str:
    """Its answer."""
    return f"The nodule on the {side} is {size}."


def side_answer(side: str) -> str:
    """The answer to ``SIDE_QUESTION``, asked where one side alone holds a nodule."""
    return f"The nodule is on the {side}."


def every_text() -> list[str]:
    """All sentences of the language: what the tokenizer is trained on so that words are whole tokens."""
    texts = [REPORT_PROMPT, SIDE_QUESTION]
    for side in SIDES:
        texts += [absent(side), closed_question(side), closed_answer(side, None), size_question(side)]
        texts.append(side_answer(side))
        for size in SIZES:
            texts += [closed_answer(side, size), size_answer(side, size)]
            texts += [present(side, size, part) for part in PARTS]
    return texts
