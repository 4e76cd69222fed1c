"""A control site: an equal shape off every lesion and inside the body, in like surroundings.

Destroying it costs the picture as much as destroying the lesion does, but no evidence. Sites are
moved in the plane only, so that a control is seen on the same slices as its lesion.
"""

import dataclasses
import functools
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from medpo_cli.imaging.geometry import side_axis
from medpo_cli.imaging.image import Image, Mask
from medpo_cli.imaging.regions import box_of, ring, ring_width
from medpo_cli.imaging.window import grey, resolve_window

Values = npt.NDArray[np.float64]
Site = tuple[Mask, Literal["mirror", "shift"]]
DARK = 8
"""Grey level of 0-255 up to which pixels joined to the picture's border are air or collimator."""
MARGIN = 2
"""Pixels kept free around lesions."""
BEST = 20
"""Sites of the most similar surroundings that the seed picks from."""
ALIKE = 0.5
"""How far mean plus spread around a mirrored site may be from the lesion's, in standard deviations of the image."""
SLICES = 8
"""Slices of a volume that surroundings are compared on."""
MIDLINE_RANGE = 0.15
"""How far from the middle the plane of symmetry may lie, as a share of the width."""


class Ground:
    """What the search needs of some slices of an image, worked out once: body, brightness, symmetry.

    Args:
        image: picture or volume.
        slices: range of axis 2 that the search looks at.
    """

    def __init__(self, image: Image, slices: slice = slice(None)) -> None:
        self.slices = slices
        self.image = dataclasses.replace(
            image,
            array=image.array[:, :, slices],
            padding=None if image.padding is None else image.padding[:, :, slices],
            window=resolve_window(image),
        )

    @functools.cached_property
    def body(self) -> Mask:
        """Voxels that are neither padding nor dark and joined to the border of their slice."""
        image = self.image
        shown = image.array.mean(-1) if image.colour else grey(image, image.array, resolve_window(image))
        labels, _ = ndimage.label(shown <= DARK)
        edge = np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])
        outside = np.isin(labels, np.unique(edge[edge > 0]))
        body: Mask = ~outside if image.padding is None else ~outside & ~image.padding
        return body

    @functools.cached_property
    def brightness(self) -> Values:
        """``[X, Y, Z]`` in image units, centred and scaled to keep the transforms exact."""
        values = self.image.luminance()
        return np.asarray((values - values.mean()) / (values.std() or 1.0))

    @functools.cached_property
    def symmetry(self) -> int | None:
        """Sum of two mirrored indices along the left-right axis, where the picture is most like its mirror."""
        axis = side_axis(self.image)
        if axis < 0:
            return None
        lines = np.moveaxis(self.brightness.mean(axis=2), axis, 0)
        size = len(lines)
        spectrum = fft.rfft(lines - lines.mean(axis=0), 2 * size, axis=0)
        likeness = fft.irfft(spectrum**2, 2 * size, axis=0).sum(axis=1)
        reach = int(MIDLINE_RANGE * size)
        return size - 1 - reach + int(np.argmax(likeness[size - 1 - reach : size + reach]))

    def midline(self) -> Mask:
        """Voxels so near the plane of symmetry that a region on them meets its own mirror image."""
        axis, total = side_axis(self.image), self.symmetry
        band = np.zeros(self.image.shape, bool)
        if total is not None:
            near = np.abs(2 * np.arange(band.shape[axis]) - total) <= 2 * MARGIN + 2
            np.moveaxis(band, axis, 0)[near] = True
        return band

    def reflected(self, mask: Mask) -> Mask:
        """``mask`` of these slices mirrored at the plane of symmetry; nothing where there is none."""
        axis, total = side_axis(self.image), self.symmetry
        turned = np.zeros_like(mask)
        if total is None:
            return turned
        size = mask.shape[axis]
        low, high = max(0, total - size + 1), min(size - 1, total)
        place = tuple(slice(low, high + 1) if number == axis else slice(None) for number in range(3))
        turned[place] = np.flip(mask[place], axis)
        return turned


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
    around = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1, 1), bool)
    return np.asarray(~ground.body | ndimage.binary_dilation(lesions, around))


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
    """The region moved in its plane to a seeded choice among the legal sites with the most similar ring."""
    margin = int(np.ceil(ring_width(region)))
    box = box_of(region, margin)
    around = ring(region, ring_width(region))
    sums = _correlations(ground.brightness, region, around, forbidden, usable, box, margin)
    hits, weight, first, second = sums
    mean = first / np.maximum(weight, 1)
    spread = np.sqrt(np.maximum(second / np.maximum(weight, 1) - mean**2, 0))
    home = box[0].start + margin, box[1].start + margin
    legal = (hits < 0.5) & (weight >= 0.5 * max(weight[home], 1))
    places = np.argwhere(legal)
    if not len(places):
        return None
    cost = np.abs(mean - mean[home]) + np.abs(spread - spread[home])
    order = np.argsort(np.round(cost[legal], 9), kind="stable")[:BEST]
    place = places[order[int(rng.integers(len(order)))]]
    moved = np.zeros_like(region)
    step = place - np.array(home)
    x, y, z = np.nonzero(region)
    moved[x + step[0], y + step[1], z] = True
    return moved


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
