"""Boxes of an answer, their units and their overlap, by hand."""

import itertools
import time

import numpy as np
import pytest

from medpo_cli.text.boxes import MOST_BOXES, Box, Corners, Unit, box_reward, boxes, iou


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The nodule is at [10, 20, 30, 40].", [((10, 20, 30, 40), "pixels")]),
        ('{"bbox_2d": [1.5, 2, 3, 4], "label": "nodule"}', [((1.5, 2, 3, 4), "pixels")]),
        ("(1,2),(3,4) and [5,6,7,8]", [((1, 2, 3, 4), "pixels"), ((5, 6, 7, 8), "pixels")]),
        ("(1,2)(3,4)", [((1, 2, 3, 4), "pixels")]),
        ("[[1, 2], [3, 4]]", [((1, 2, 3, 4), "pixels")]),
        ("[0.1, 0.2, 0.3, 0.4]", [((0.1, 0.2, 0.3, 0.4), "fractions")]),
        ("[0, 0, 1, 1]", [((0, 0, 1, 1), "pixels")]),  # no point: one pixel
        ("<box>[[100, 200, 300, 400]]</box>", [((100, 200, 300, 400), "thousandths")]),
        ("<box>(100,200),(300,400)</box>", [((100, 200, 300, 400), "thousandths")]),
        ("<box>100 200 300 400</box>", [((100, 200, 300, 400), "thousandths")]),
        ("<|box_start|>(100,200),(300,400)<|box_end|>", [((100, 200, 300, 400), "thousandths")]),
        ("<box>[[1,2,3,4],[5,6,7,8]]</box>", [((1, 2, 3, 4), "thousandths"), ((5, 6, 7, 8), "thousandths")]),
        ("<box>0.1 0.2 0.3 0.4</box>", [((0.1, 0.2, 0.3, 0.4), "fractions")]),
        ("[30, 20, 10, 40]", [((30, 20, 10, 40), "pixels")]),  # said, though it has no inside
        ("[1,2,3,4] [1, 2, 3, 4]", [((1, 2, 3, 4), "pixels")]),
        ("sizes 2.3 x 1.8 cm, [1, 2, 3], (4, 5), <box>6 7 8</box>", []),
        ("", []),
    ],
)
def test_boxes_of_a_text(text: str, found: list[tuple[Corners, Unit]]) -> None:
    assert [(box.corners, box.unit) for box in boxes(text)] == found


def test_numbers_without_a_tag_count_what_the_caller_says() -> None:
    assert [box.unit for box in boxes("[1,2,3,4] <box>1 2 3 4</box> [0.1, 0.2, 0.3, 0.4]", "thousandths")] == [
        "thousandths",
        "fractions",
    ]


def test_shares_of_the_picture() -> None:
    half = (0.25, 0.5, 0.5, 1.0)
    assert Box((50, 50, 100, 100), "pixels").shares((200, 100)) == half
    assert Box((250, 500, 500, 1000), "thousandths").shares((200, 100)) == half
    assert Box(half, "fractions").shares((200, 100)) == half


@pytest.mark.parametrize(
    "text", ["<box>" * 40_000, "[1," * 70_000, "[" + " " * 200_000, "9" * 200_000, "(1,2)," * 40_000]
)
def test_long_answers_take_no_time(text: str) -> None:
    start = time.process_time()
    boxes(text)
    assert time.process_time() - start < 1.0


def test_no_more_boxes_than_a_matching_can_take() -> None:
    assert len(boxes(" ".join(f"[1,2,3,{n}]" for n in range(4, 200)))) == MOST_BOXES


def test_iou_by_hand() -> None:
    # 2 x 2 shifted by 1: shared 2, union 4 + 4 - 2
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    # a quarter of the larger one
    assert iou((0, 0, 2, 2), (1, 1, 2, 2)) == pytest.approx(1 / 4)
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0
    assert iou((2, 0, 0, 2), (0, 0, 2, 2)) == 0
    assert iou((2, 2, 0, 0), (2, 2, 0, 0)) == 0


def test_reward_by_hand() -> None:
    a, b, far = (0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0), (9.0, 9.0, 10.0, 10.0)
    assert box_reward([a], [a]) == 1
    assert box_reward([a], [b]) == pytest.approx(1 / 3)
    assert box_reward([a, far], [a]) == 0.5  # one too many
    assert box_reward([a], [a, far]) == 0.5  # one too few
    assert box_reward([far, a], [a, far]) == 1  # in any order
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
