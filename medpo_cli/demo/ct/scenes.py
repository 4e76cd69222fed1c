"""One picture of the CT demo: a crop of a real slice, with 0, 1 or 2 nodules, and its exact twins.

A crop shows 115 mm (96 pixels of 1.2 mm). Its left and right half are named from the patient's point of
view, as on any radiograph: the ``left`` half is the picture's right half. Each half may hold one nodule.
Where a nodule would lie is drawn whether or not it is there, so that anatomy does not tell presence.
"""

from dataclasses import dataclass, replace

import numpy as np

from medpo_cli.demo.ct.lesions import SIZE_MM, Contour, Stamp, contours_for, insert, make_stamp, normal
from medpo_cli.demo.ct.slices import HU_HIGH, HU_LOW, SPACING, Slice, slices_for
from medpo_cli.demo.streams import Stream

PIXELS = 96
SIDES = ("left", "right")
PARTS = ("upper", "lower")
SIZES = tuple(SIZE_MM)

EDGE = 6
TRIES = 200
MINIMUM_CONTRAST = 28.0


@dataclass(frozen=True, eq=False)
class Nodule:
    """One nodule: ``side`` and ``part`` of the crop, ``size``, mm across, ``mask`` bool [96, 96].

    The mask is every pixel that differs from the picture without this nodule.
    """

    side: str
    part: str
    size: str
    diameter: float
    texture: int
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture uint8 [96, 96], its nodules by side, and the same picture without some of them.

    ``twins`` maps a side to the picture without that side's nodule and ``none`` to that without any.
    """

    patient: str
    z: float
    grey: np.ndarray
    nodules: dict[str, Nodule]
    twins: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Plan:
    """What one half of the crop holds, or would hold: a contour, its stamp, and where."""

    side: str
    part: str
    contour: Contour
    stamp: Stamp
    row: int = 0
    column: int = 0


def to_grey(hu: np.ndarray) -> np.ndarray:
    """HU to 0..255 over the demo's window."""
    return np.clip((hu - HU_LOW) / (HU_HIGH - HU_LOW) * 255, 0, 255).round().astype(np.uint8)


def pick(places: np.ndarray, draw: Stream) -> np.ndarray:
    """One row of ``places`` [n, 2]."""
    row: np.ndarray = places[draw.choice(range(len(places)))]
    return row


def crop(source: Slice, vary: bool, *key: str | int) -> tuple[np.ndarray, np.ndarray]:
    """HU [96, 96] and lung [96, 96] around a random lung pixel.

    ``vary`` also turns, scales and mirrors the slice, shifts its grey values and adds noise.
    """
    from scipy import ndimage

    draw = Stream(*key, "crop")
    middle = pick(np.argwhere(source.lung), draw) + np.array([draw.uniform(-8, 8), draw.uniform(-8, 8)])
    angle = draw.uniform(-0.2, 0.2) if vary else 0.0
    scale = draw.uniform(0.88, 1.12) if vary else 1.0
    mirror = -1.0 if vary and draw.chance(0.5) else 1.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([1.0, mirror])
    if not vary:
        middle = middle.round() + 0.5
    offset = middle - matrix @ np.full(2, (PIXELS - 1) / 2)
    shape = (PIXELS, PIXELS)
    grey = ndimage.affine_transform(source.grey.astype(np.float32), matrix, offset, shape, order=1)
    lung = ndimage.affine_transform(source.lung.astype(np.uint8), matrix, offset, shape, order=0)
    hu = grey / 255 * (HU_HIGH - HU_LOW) + HU_LOW
    if vary:
        noise = Stream(*key, "noise").normals(*shape) * draw.uniform(0, 30)
        hu = hu * draw.uniform(0.95, 1.05) + normal(draw, 0, 20) + noise
    return hu, lung > 0


def half_plan(split: str, side: str, size: str, *key: str | int) -> Plan:
    """A nodule for one half, from the split's scans, in its upper or lower part."""
    draw = Stream(*key, side)
    contour = draw.choice(contours_for(split, size))
    return Plan(side, draw.choice(PARTS), contour, make_stamp(contour, SPACING, *key, side))


def place(plan: Plan, distance: np.ndarray, draw: Stream) -> Plan | None:
    """The plan with a position in its half and part, inside the lung; None where it does not fit.

    ``distance`` [96, 96] is the distance of each lung pixel to the lung's border in pixels.
    """
    radius = plan.contour.diameter / 2 / SPACING
    half = plan.stamp.cover.shape[0] // 2
    middle = PIXELS // 2
    sites = distance >= 0.85 * radius
    allowed = np.zeros_like(sites)
    side = np.s_[middle + half - 2 : PIXELS - half] if plan.side == "left" else np.s_[half : middle - half + 2]
    part = np.s_[half : middle - EDGE] if plan.part == "upper" else np.s_[middle + EDGE : PIXELS - half]
    allowed[part, side] = True
    places = np.argwhere(sites & allowed)
    if not len(places):
        return None
    row, column = pick(places, draw).tolist()
    return replace(plan, row=row, column=column)


def compose(hu: np.ndarray, plans: list[Plan]) -> np.ndarray:
    """The picture with these nodules."""
    for plan in plans:
        hu = insert(hu, plan.stamp, plan.row, plan.column)
    return to_grey(hu)


def visible(hu: np.ndarray, plan: Plan) -> bool:
    """Whether the nodule stands out from what it would cover."""
    change = compose(hu, [plan]).astype(float) - to_grey(hu)
    half = plan.stamp.cover.shape[0] // 2
    box = np.s_[plan.row - half : plan.row + half + 1, plan.column - half : plan.column + half + 1]
    return float(change[box][plan.stamp.cover >= 0.5].mean()) >= MINIMUM_CONTRAST


def draw_scene(split: str, seed: int, index: int, present: dict[str, bool] | None = None) -> Scene:
    """Picture ``index`` of a split: a function of its arguments alone.

    Args:
        split: ``train`` (turned, scaled, mirrored, noisy), ``validation`` or ``test`` (slices as they are).
        seed: another seed, other pictures.
        index: number of the picture.
        present: whether each half holds a nodule; a fair coin each if not given.

    Raises:
        ValueError: unknown split.
    """
    coins = Stream("ct", split, seed, index, "content")
    tossed = {side: coins.chance(0.5) for side in SIDES}
    sizes = {side: coins.choice(SIZES) for side in SIDES}
    for attempt in range(TRIES):
        found = try_scene(split, sizes, "ct", split, seed, index, attempt)
        if found is not None:
            return finish(*found, tossed if present is None else present)
    raise RuntimeError(f"no crop of split {split} fits two nodules")


def try_scene(split: str, sizes: dict[str, str], *key: str | int) -> tuple[Slice, np.ndarray, list[Plan]] | None:
    """A slice, its crop in HU and both halves' placed nodules; None where one does not fit or show."""
    from scipy import ndimage

    source = Stream(*key, "slice").choice(slices_for(split))
    hu, lung = crop(source, split == "train", *key)
    distance = ndimage.distance_transform_edt(lung)
    plans = []
    for side in SIDES:
        plan = place(half_plan(split, side, sizes[side], *key), distance, Stream(*key, side, "place"))
        if plan is None or not visible(hu, plan):
            return None
        plans.append(plan)
    return source, hu, plans


def finish(source: Slice, hu: np.ndarray, plans: list[Plan], present: dict[str, bool]) -> Scene:
    """The picture with the nodules that are there, their masks and the twins."""
    shown = [plan for plan in plans if present[plan.side]]
    grey = compose(hu, shown)
    nodules, twins = {}, {"none": to_grey(hu)}
    for plan in shown:
        twins[plan.side] = compose(hu, [other for other in shown if other is not plan])
        mask = grey != twins[plan.side]
        contour = plan.contour
        nodules[plan.side] = Nodule(plan.side, plan.part, contour.size, contour.diameter, contour.texture, mask)
    return Scene(source.patient, source.z, grey, nodules, twins)
