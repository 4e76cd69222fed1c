"""A control site: an equal shape off every lesion and inside the body, in like surroundings.

Destroying it costs the picture as much as destroying the lesion does, but no evidence. Sites are
moved in the plane only, so that a control is seen on the same slices as its lesion.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from medpo_cli.imaging.geometry import side_axis
from medpo_cli.imaging.ground import MARGIN, Ground, coarseness
from medpo_cli.imaging.image import Mask
from medpo_cli.imaging.regions import box_of, ring, ring_width

Values = npt.NDArray[np.float64]
Site = tuple[Mask, Literal["mirror", "shift"]]
BEST = 20
"""Sites of the most similar surroundings that the seed picks from."""
ALIKE = 0.5
"""How far mean plus spread around a mirrored site may be from the lesion's, in standard deviations of the image."""
SLICES = 8
"""Slices of a volume that surroundings are compared on."""


def find_control(
    ground: Ground, region: Mask, lesions: Mask, rng: np.random.Generator, *, twinned: bool = False
) -> Site | None:
    """Mask of a control site and how it was found, None where no site is legal.

    Args:
        ground: the slices of the image that the region lies on.
        region: the destroyed region, bool ``[X, Y, Z]`` of the whole image.
        lesions: all regions of the record, ``region`` among them.
        rng: picks among the most similar sites.
        twinned: the mirrored place of a site must be legal as well (the operator copies from there).
    """
    found = _find(ground, region[:, :, ground.slices], lesions[:, :, ground.slices], rng, twinned)
    if found is None:
        return None
    mask = np.zeros_like(region)
    mask[:, :, ground.slices] = found[0]
    return mask, found[1]


def _find(ground: Ground, region: Mask, lesions: Mask, rng: np.random.Generator, twinned: bool = False) -> Site | None:
    forbidden = forbidden_for(ground, lesions)
    if twinned:
        forbidden = forbidden | ~ground.reflected(~forbidden) | ground.midline()
    mirrored = mirror(region, side_axis(ground.image), ground.symmetry)
    usable = ground.body & ~lesions
    if mirrored is not None and not (mirrored & forbidden).any() and _alike(ground, region, mirrored, usable):
        return mirrored, "mirror"
    moved = _shifted(ground, region, forbidden, usable, rng)
    return None if moved is None else (moved, "shift")


def forbidden_for(ground: Ground, lesions: Mask) -> Mask:
    """Voxels of the ground's slices that are not body, or in or near a lesion."""
    forbidden: Mask = ~ground.body
    if lesions.any():
        box = box_of(lesions, MARGIN)
        forbidden[box] |= ndimage.binary_dilation(lesions[box], np.ones((2 * MARGIN + 1, 2 * MARGIN + 1, 1), bool))
    return forbidden


def _alike(ground: Ground, region: Mask, other: Mask, usable: Mask) -> bool:
    """Whether what surrounds both sites is similar: half a chest in a crop has no mirror image."""
    here, there = (ground.brightness[ring(mask, ring_width(mask)) & usable] for mask in (region, other))
    if not here.size or not there.size:
        return False
    return bool(abs(here.mean() - there.mean()) + abs(here.std() - there.std()) <= ALIKE)


def mirror(region: Mask, axis: int, symmetry: int | None) -> Mask | None:
    """``region`` mirrored so that index i becomes ``symmetry - i``; None where it leaves the image."""
    if symmetry is None:
        return None
    indices = list(np.nonzero(region))
    indices[axis] = symmetry - indices[axis]
    if indices[axis].min() < 0 or indices[axis].max() >= region.shape[axis]:
        return None
    mirrored = np.zeros_like(region)
    mirrored[tuple(indices)] = True
    return mirrored


def _shifted(ground: Ground, region: Mask, forbidden: Mask, usable: Mask, rng: np.random.Generator) -> Mask | None:
    """The region moved in its plane to a seeded choice among the legal sites with the most similar ring.

    In large planes sites are whole blocks of k pixels apart: what is legal for the blocks that a region
    touches is legal for the region.
    """
    k = coarseness(region.shape)
    step = _step(
        _blocks(ground.brightness, k, np.mean), _blocks(region, k, np.max), _blocks(forbidden, k, np.max, edge=True),
        _blocks(usable, k, np.min), rng,
    )  # fmt: skip
    if step is None:
        return None
    moved = np.zeros_like(region)
    x, y, z = np.nonzero(region)
    moved[x + k * step[0], y + k * step[1], z] = True
    return moved


def _blocks(values: npt.NDArray[Any], k: int, reduce: Callable[..., Any], *, edge: bool = False) -> npt.NDArray[Any]:
    """``values`` reduced over blocks of k x k pixels; what lacks at the far edges counts as ``edge``."""
    if k == 1:
        return values
    width, height, depth = values.shape
    padded = np.pad(values, ((0, -width % k), (0, -height % k), (0, 0)), constant_values=edge)
    split = padded.reshape(padded.shape[0] // k, k, padded.shape[1] // k, k, depth)
    return np.asarray(reduce(split, axis=(1, 3)))


def _step(
    brightness: Values, region: Mask, forbidden: Mask, usable: Mask, rng: np.random.Generator
) -> npt.NDArray[np.int64] | None:
    """Offset along x and y to the chosen site, None where none is legal."""
    margin = int(np.ceil(ring_width(region)))
    box = box_of(region, margin)
    around = ring(region, ring_width(region))
    hits, weight, first, second = _correlations(brightness, region, around, forbidden, usable, box, margin)
    mean = first / np.maximum(weight, 1)
    spread = np.sqrt(np.maximum(second / np.maximum(weight, 1) - mean**2, 0))
    home = box[0].start + margin, box[1].start + margin
    legal = (hits < 0.5) & (weight >= 0.5 * max(weight[home], 1))
    places = np.argwhere(legal)
    if not len(places):
        return None
    cost = np.abs(mean - mean[home]) + np.abs(spread - spread[home])
    order = np.argsort(np.round(cost[legal], 9), kind="stable")[:BEST]
    return np.asarray(places[order[int(rng.integers(len(order)))]] - np.array(home))


def _correlations(
    brightness: Values, region: Mask, around: Mask, forbidden: Mask, usable: Mask, box: tuple[slice, ...], margin: int
) -> tuple[Values, Values, Values, Values]:
    """Four sums for every place of the box's corner in the padded plane.

    They are the forbidden voxels under the region; in the ring the usable voxels, their sum, their sum of squares.
    """
    slices = range(box[2].start, box[2].stop)
    compared = set(np.linspace(slices.start, slices.stop - 1, min(SLICES, len(slices))).astype(int).tolist())
    kernel = tuple(side.stop - side.start for side in box[:2])
    padded = tuple(size + 2 * margin for size in region.shape[:2])
    lengths = tuple(fft.next_fast_len(size, real=True) for size in padded)
    sums: list[Values] = [np.zeros((lengths[0], lengths[1] // 2 + 1), complex) for _ in range(4)]
    for z in slices:
        plane = np.pad(forbidden[:, :, z].astype(float), margin, constant_values=1.0)
        sums[0] += fft.rfft2(plane, lengths) * np.conj(fft.rfft2(region[:, :, z][box[:2]].astype(float), lengths))
        if z not in compared:
            continue
        shape = np.conj(fft.rfft2(around[:, :, z][box[:2]].astype(float), lengths))
        weight = np.pad(usable[:, :, z].astype(float), margin)
        values = np.pad(brightness[:, :, z], margin)
        for number, field in enumerate((weight, weight * values, weight * values**2), start=1):
            sums[number] += fft.rfft2(field, lengths) * shape
    valid = tuple(slice(0, size - side + 1) for size, side in zip(padded, kernel, strict=True))
    hits, weight, first, second = (fft.irfft2(total, lengths)[valid] for total in sums)
    return hits, weight, first, second
