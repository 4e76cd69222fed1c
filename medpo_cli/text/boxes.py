"""Boxes in answers: the forms that models write, and how well they lie on the true ones (PerPO, 2502.04371).

    [x0, y0, x1, y1]   (x0,y0),(x1,y1)   {"bbox_2d": [...]}       without a tag: pixels, or what the caller says
    <box>...</box>     <|box_start|>...<|box_end|>                thousandths of the picture (Qwen-VL, InternVL)
    [0.12, 0.3, 0.5, 0.64]: none above 1, one with a point        fractions of the picture (LLaVA, Shikra)

Boxes of two units are only compared as fractions of the picture that both lie on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Unit = Literal["pixels", "thousandths", "fractions"]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom; x right, y down."""
MOST_BOXES = 64

_NUMBER = r"-?\d{1,6}(?:\.\d{1,18})?"
_NEXT = r"\s{0,4},\s{0,4}"
_OPEN, _CLOSE = r"[\[(<]\s{0,4}", r"\s{0,4}[\])>]"
_FOUR = rf"{_OPEN}{_NUMBER}(?:{_NEXT}{_NUMBER}){{3}}{_CLOSE}"
_POINT = rf"{_OPEN}{_NUMBER}{_NEXT}{_NUMBER}{_CLOSE}"
_TAGGED = r"<box>(?P<box>[^<]{0,400})</box>|<\|box_start\|>(?P<special>[^<]{0,400})<\|box_end\|>"
# Repeats are bounded everywhere: the time grows with the length of the answer only.
_BOXES = re.compile(rf"{_TAGGED}|(?P<bare>{_FOUR}|{_POINT}\s{{0,4}},?\s{{0,4}}{_POINT})")
_NUMBERS = re.compile(_NUMBER)


@dataclass(frozen=True, slots=True)
class Box:
    """A box as it was written: its corners and what they count."""

    corners: Corners
    unit: Unit

    def shares(self, size: tuple[int, int]) -> Corners:
        """Corners as fractions of a picture of ``size`` (width, height) in pixels."""
        width, height = {"pixels": size, "thousandths": (1000, 1000), "fractions": (1, 1)}[self.unit]
        left, top, right, bottom = self.corners
        return left / width, top / height, right / width, bottom / height


def boxes(text: str, untagged: Unit = "pixels") -> list[Box]:
    """The boxes that a text names, in order, equal ones once; at most ``MOST_BOXES``.

    A box without an inside is one, too: it was said, and lies on nothing.

    Args:
        text: an answer or a reference.
        untagged: what numbers without a tag count, unless they are fractions.
    """
    return list(dict.fromkeys(islice(_found(text, untagged), MOST_BOXES)))


def _found(text: str, untagged: Unit) -> Iterator[Box]:
    for match in _BOXES.finditer(text):
        unit: Unit = untagged if match["bare"] else "thousandths"
        numbers = _NUMBERS.findall(match["bare"] or match["box"] or match["special"] or "")
        for start in range(0, len(numbers) - 3, 4):
            four = numbers[start : start + 4]
            left, top, right, bottom = map(float, four)
            small = max(left, top, right, bottom) <= 1 and any("." in number for number in four)
            yield Box((left, top, right, bottom), "fractions" if small else unit)


def iou(a: Corners, b: Corners) -> float:
    """Area of the intersection over that of the union; a box without an inside lies on nothing."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / (_area(a) + _area(b) - shared) if shared else 0.0


def box_reward(said: Sequence[Corners], truth: Sequence[Corners]) -> float:
    """Sum of IoU under the best one-to-one matching, over the longer list; 0 if either is empty.

    So a box too many or too few lowers the reward like one that misses.
    """
    if not said or not truth:
        return 0.0
    if len(said) == len(truth) == 1:
        return iou(said[0], truth[0])
    from scipy.optimize import linear_sum_assignment  # single boxes do without its start-up time

    table = [[iou(a, b) for b in truth] for a in said]
    rows, columns = linear_sum_assignment(table, maximize=True)
    shared = sum(table[row][column] for row, column in zip(rows, columns, strict=True))
    return float(shared / max(len(said), len(truth)))


def _area(box: Corners) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
