"""Nodules from real outlines: which reader contour, what it is made of, and how it lands on a slice."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from medpo_cli.demo.ct.slices import SPLITS
from medpo_cli.demo.streams import Stream

FILE = Path(__file__).parent / "data" / "contours.npz"
STEP_MM = 0.1
SIZE_MM = {"small": (8.0, 12.0), "large": (16.0, 28.0)}
SUPERSAMPLE = 6

GROUND_GLASS, PART_SOLID, SOLID = (1, 2), (3, 4), (5,)
HU_SOLID, HU_GLASS = (20.0, 35.0), (-620.0, 45.0)
NOISE_HU = 22.0


@dataclass(frozen=True, eq=False)
class Contour:
    """One reader's outline of a nodule on one slice.

    ``points`` [n, 2] are (x, y) in mm around its middle (x to the patient's left, y to the back);
    ``diameter`` in mm is that of the disc of the same area; ``texture`` and ``margin`` are the reader's
    ratings 1..5 (1 ground glass, 5 solid; 1 poorly defined, 5 sharp); ``scan`` tells patients apart.
    """

    scan: int
    texture: int
    margin: int
    diameter: float
    points: np.ndarray

    @property
    def size(self) -> str:
        """``small`` or ``large``."""
        return "small" if self.diameter <= SIZE_MM["small"][1] else "large"


@cache
def all_contours() -> tuple[Contour, ...]:
    """Every shipped contour."""
    with np.load(FILE, allow_pickle=False) as data:
        marks, points = data["marks"], data["points"] * np.float32(STEP_MM)
    ends = np.cumsum(marks[:, 5])
    return tuple(
        Contour(int(scan), int(texture), int(margin), tenths / 10, points[end - count : end])
        for (scan, _mark, texture, margin, tenths, count), end in zip(marks.tolist(), ends.tolist(), strict=True)
    )


@cache
def contours_for(split: str, size: str) -> tuple[Contour, ...]:
    """The contours of one size that a split may use: scans are held out by their number modulo 5.

    Raises:
        ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}")
    mine = {"test": (0,), "validation": (1,), "train": (2, 3, 4)}[split]
    return tuple(c for c in all_contours() if c.scan % 5 in mine and c.size == size)


@dataclass(frozen=True, eq=False)
class Stamp:
    """A nodule on the pixel grid, side length odd, its middle in the middle.

    ``cover`` float [k, k] in 0..1 is how much of each pixel it fills after the scanner's blur;
    ``hu`` float [k, k] what it is made of.
    """

    cover: np.ndarray
    hu: np.ndarray


def coverage(points: np.ndarray, spacing: float, half: int) -> np.ndarray:
    """Share of each pixel inside the polygon, by supersampling; ``points`` [n, 2] in mm, result [2 half + 1]^2."""
    from PIL import Image, ImageDraw

    side = (2 * half + 1) * SUPERSAMPLE
    canvas = Image.new("L", (side, side))
    scaled = points / spacing * SUPERSAMPLE + side / 2
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in scaled.tolist()], fill=1)
    fine = np.asarray(canvas, np.float32)
    shares: np.ndarray = fine.reshape(2 * half + 1, SUPERSAMPLE, 2 * half + 1, SUPERSAMPLE).mean(axis=(1, 3))
    return shares


def normal(draw: Stream, mean: float, deviation: float) -> float:
    """An approximately normal number: the sum of twelve uniform ones."""
    return mean + deviation * (sum(draw.uniform() for _ in range(12)) - 6)


def make_stamp(contour: Contour, spacing: float, *key: str | int) -> Stamp:
    """Rasterise ``contour`` at ``spacing`` mm a pixel, turned and perhaps mirrored as the stream ``key`` says.

    Ground glass is -620 HU, solid 20 HU (each with a spread between nodules), part-solid a ground-glass
    body with a solid core of the same outline; the edge is blurred more where the margin was rated poor.
    """
    from scipy import ndimage

    draw = Stream(*key, "stamp")
    angle = draw.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = contour.points @ turn * np.array([draw.choice([-1.0, 1.0]), 1.0])
    half = int(np.ceil(np.abs(points).max() / spacing)) + 3
    blur = (0.45 if contour.margin >= 4 else 0.6 if contour.margin == 3 else 0.8) * 1.2 / spacing
    cover = ndimage.gaussian_filter(coverage(points, spacing, half), blur)
    solid, glass = normal(draw, *HU_SOLID), normal(draw, *HU_GLASS)
    hu = np.full(cover.shape, glass if contour.texture in (*GROUND_GLASS, *PART_SOLID) else solid)
    if contour.texture in PART_SOLID:
        core = ndimage.gaussian_filter(coverage(points * draw.uniform(0.5, 0.75), spacing, half), blur)
        hu = hu + core * (solid - glass)
    grain = ndimage.gaussian_filter(Stream(*key, "grain").normals(*cover.shape), 0.5)
    return Stamp(cover, hu + grain / grain.std() * NOISE_HU)


def insert(hu: np.ndarray, stamp: Stamp, row: int, column: int) -> np.ndarray:
    """A copy of the slice ``hu`` [H, W] with the stamp's middle at (row, column); brighter tissue stays."""
    half = stamp.cover.shape[0] // 2
    box = np.s_[row - half : row + half + 1, column - half : column + half + 1]
    result = hu.copy()
    result[box] += stamp.cover * np.maximum(stamp.hu - hu[box], 0)
    return result
