"""Polygons as regions: which pixels, to the last one."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import disc

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.imaging.polygon import inside_polygon
from medpo_cli.imaging.regions import box_mask, region_mask
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Region

IMAGE = Image(array=frozen(np.zeros((8, 6, 1), np.uint8)), kind="png")


def drawn(corners: list[tuple[float, float]], height: int = 6, width: int = 8) -> list[str]:
    return ["".join(".#"[int(pixel)] for pixel in row) for row in inside_polygon(corners, height, width)]


def test_triangle_by_hand() -> None:
    # Rows of centres y = 0.5 ... 3.5 meet the slanted edge x = 4 - y at 3.5, 2.5, 1.5, 0.5; centres on it are out.
    assert drawn([(0, 0), (4, 0), (0, 4)], 5, 5) == ["###..", "##...", "#....", ".....", "....."]
    # The other half of the square: together they are the square.
    assert drawn([(4, 0), (4, 4), (0, 4)], 5, 5) == ["...#.", "..##.", ".###.", "####.", "....."]


def test_concave_and_crossing_by_the_even_odd_rule() -> None:
    assert drawn([(0, 0), (6, 0), (6, 4), (4, 4), (4, 2), (2, 2), (2, 4), (0, 4)], 4, 6) == [
        "######", "######", "##..##", "##..##",
    ]  # fmt: skip
    twice = [(0, 0), (4, 0), (4, 4), (0, 4)] * 2
    assert drawn(twice, 4, 4) == ["...."] * 4


def test_direction_start_and_closing_do_not_matter() -> None:
    corners = [(0.3, 1.1), (6.7, 0.2), (5.5, 4.9), (2.2, 3.3)]
    once = inside_polygon(corners, 6, 8)
    assert once.any()
    for other in (corners[::-1], corners[2:] + corners[:2], [*corners, corners[0]]):
        np.testing.assert_array_equal(inside_polygon(other, 6, 8), once)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.integers(1, 63, 2) + rng.choice([0.0, 0.5, 0.3])
        border = [(0.0, 0.0), (64.0, 0.0), (64.0, 64.0), (0.0, 64.0)]
        fan = [[border[k], border[(k + 1) % 4], (float(x), float(y))] for k in range(4)]
        assert (sum(inside_polygon(part, 64, 64).astype(int) for part in fan) == 1).all()


def test_a_fine_polygon_is_its_disc() -> None:
    turns = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    border = np.stack([32.5 + 20.3 * np.cos(turns), 32.5 + 20.3 * np.sin(turns)], axis=1)
    circle = [(float(x), float(y)) for x, y in border]
    np.testing.assert_array_equal(inside_polygon(circle, 64, 64), disc(64, (32, 32), 20.3).T)


def test_a_box_is_the_polygon_of_its_corners() -> None:
    for box in [(1.0, 2.0, 3.0, 4.0), (1.6, 2.0, 6.0, 4.4), (-5.0, -5.0, 2.5, 100.0)]:
        x0, y0, x1, y1 = box
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        mask = region_mask(Region(label="x", polygon=corners), IMAGE, Context("."), None, "$")
        np.testing.assert_array_equal(mask, box_mask(Region(label="x", box=box), IMAGE, None))


def test_a_polygon_lies_on_the_displayed_picture_of_its_slice() -> None:
    mirrored = Image(array=frozen(np.zeros((8, 6, 3), np.uint8)), kind="nifti", affine=np.eye(4))
    region = Region(label="x", polygon=[(0, 0), (2, 0), (2, 2), (0, 2)])
    mask = region_mask(region, mirrored, Context("."), 2, "$")
    assert np.argwhere(mask).tolist() == [[6, 4, 2], [6, 5, 2], [7, 4, 2], [7, 5, 2]]


@pytest.mark.parametrize(
    ("corners", "code"),
    [
        ([(50.0, 50.0), (60.0, 50.0), (60.0, 60.0)], "mask-empty"),
        ([(0.0, 0.0), (4.0, 4.0), (2.0, 2.0)], "mask-empty"),  # no inside
        ([(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 1.0)], "mask-too-small"),
        ([(1e308, 1e308), (-1e308, 1e308), (0.0, -1e308)], "mask-empty"),
    ],
)
def test_polygons_that_are_no_region(tmp_path: Path, corners: list[tuple[float, float]], code: str) -> None:
    with pytest.raises(RecordError) as caught:
        region_mask(Region(label="x", polygon=corners), IMAGE, Context(tmp_path), None, "$.regions[0]")
    assert (caught.value.reason, caught.value.path) == (code, "$.regions[0]")
