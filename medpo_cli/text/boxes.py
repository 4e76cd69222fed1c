"""Boxes in an answer, and how well they lie on the true ones (PerPO, 2502.04371: reward of grounding)."""

import re
from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 with x0 < x1 and y0 < y1."""

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_FLAT = re.compile(rf"[\[(<]\s*{_NUMBER}\s*,\s*{_NUMBER}\s*,\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])>]")
_CORNERS = re.compile(rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)\s*,?\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)")
MOST_BOXES = 64


def boxes(text: str) -> list[Box]:
    """Boxes that a text names, in order; at most ``MOST_BOXES``, those without area left out.

    Reads four numbers in brackets (``[x0, y0, x1, y1]``, alone, in JSON or between tags) and two corners
    (``(x0,y0),(x1,y1)``). The unit is the text's own: pixels, thousandths or shares.
    """
    found = [*_FLAT.finditer(text), *_CORNERS.finditer(text)]
    named = []
    for hit in sorted(found, key=lambda hit: hit.start())[:MOST_BOXES]:
        x0, y0, x1, y1 = map(float, hit.groups())
        if x0 < x1 and y0 < y1:
            named.append((x0, y0, x1, y1))
    return named


def iou(a: Box, b: Box) -> float:
    """Area of the intersection over that of the union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(a) + _area(b) - shared)


def box_reward(said: Sequence[Box], truth: Sequence[Box]) -> float:
    """Sum of IoU under the best one-to-one matching, over the longer list; both empty: 1.

    A box too many or too few lowers the reward like one that misses.
    """
    longest = max(len(said), len(truth))
    if not longest:
        return 1.0
    if not said or not truth:
        return 0.0
    from scipy.optimize import linear_sum_assignment

    table = [[iou(a, b) for b in truth] for a in said]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(sum(table[row][column] for row, column in zip(rows, columns, strict=True)) / longest)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
