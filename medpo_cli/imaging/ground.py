"""What a search for control sites needs of an image: where the body is, how bright it is, where its sides meet."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from medpo_cli.imaging.geometry import side_axis
from medpo_cli.imaging.image import Image, Mask
from medpo_cli.imaging.window import grey, resolve_window

Values = npt.NDArray[np.float64]
DARK = 8
"""Grey level of 0-255 up to which pixels joined to the picture's border are air or collimator."""
MARGIN = 2
"""Pixels kept free around lesions."""
MIDLINE_RANGE = 0.15
"""How far from the middle the plane of symmetry may lie, as a share of the width."""
LARGE = 1024
"""Pixels along a side above which searches work on every k-th line, or on blocks of k pixels."""


def coarseness(shape: tuple[int, ...]) -> int:
    """How many pixels make a block: 1 up to ``LARGE`` pixels along a side."""
    return -(-max(shape[:2]) // LARGE)


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
        spread = values.std() or 1.0
        values -= values.mean()
        values /= spread
        return values

    @functools.cached_property
    def symmetry(self) -> int | None:
        """Sum of two mirrored indices along the left-right axis, where the picture is most like its mirror."""
        axis = side_axis(self.image)
        if axis < 0:
            return None
        lines = np.moveaxis(self.brightness.mean(axis=2), axis, 0)[:, :: coarseness(self.image.shape)]
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
