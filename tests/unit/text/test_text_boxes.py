"""Boxes of an answer and their overlap, by hand."""

import itertools

import numpy as np
import pytest

from medpo_cli.text.boxes import MOST_BOXES, Box, box_reward, boxes, iou


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The nodule is at [10, 20, 30, 40].", [(10, 20, 30, 40)]),
        ('{"bbox_2d": [1.5, 2, 3, 4], "label": "nodule"}', [(1.5, 2, 3, 4)]),
        ("<box>[[0.1,0.2,0.3,0.4]]</box>", [(0.1, 0.2, 0.3, 0.4)]),
        ("<|box_start|>(100,200),(300,400)<|box_end|>", [(100, 200, 300, 400)]),
        ("(1,2)(3,4) and [5,6,7,8]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("[30, 20, 10, 40] has no area, [1,1,1,5] neither", []),
        ("sizes 2.3 x 1.8 cm, [1, 2, 3]", []),
        ("[1,2,3,4] " * 200, [(1, 2, 3, 4)] * MOST_BOXES),
    ],
)
def test_boxes_of_a_text(text: str, found: list[Box]) -> None:
    assert boxes(text) == found


def test_iou_by_hand() -> None:
    # 2 x 2 shifted by 1: shared 2, union 4 + 4 - 2
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_reward_by_hand() -> None:
    a, b, far = (0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0), (9.0, 9.0, 10.0, 10.0)
    assert box_reward([a], [a]) == 1
    assert box_reward([a], [b]) == pytest.approx(1 / 3)
    assert box_reward([a, far], [a]) == 0.5  # one too many
    assert box_reward([a], [a, far]) == 0.5  # one too few
    assert box_reward([], []) == 1
    assert box_reward([], [a]) == box_reward([a], []) == 0


def test_the_matching_is_the_best_one() -> None:
    """Brute force over all assignments."""
    generator = np.random.default_rng(0)
    for _ in range(100):
        corners = generator.uniform(0, 4, size=(6, 2, 2))
        made = [(*np.minimum(*pair), *(np.maximum(*pair) + 0.1)) for pair in corners]
        said, truth = made[:3], made[3:]
        best = max(sum(iou(a, b) for a, b in zip(said, order, strict=True)) for order in itertools.permutations(truth))
        assert box_reward(said, truth) == pytest.approx(best / 3)
