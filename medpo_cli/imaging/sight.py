"""What a region looks like at the resolution a model sees: how it stands out, and how rough it is.

A finding is only gone if it is gone there, and a fill only blends in if it does so there. Pictures are
shrunk as processors of models shrink them (bicubic, antialiased), on their own pixel grid, after windowing.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from scipy import ndimage

from medpo_cli.imaging.image import Array, Image, Mask
from medpo_cli.imaging.regions import box_of, ring_width
from medpo_cli.schema.records import Window

Values = npt.NDArray[np.float64]
SLICES = 8
"""Slices of a region in a volume that are looked at."""
OUTLIERS = 3.0
"""Robust standard deviations of the ring's Laplacian above which a value is an edge of anatomy, not texture."""
NO_CONTRAST = 0.25
"""A finding that stands out by less than this many standard deviations of its ring has no contrast to lose."""
GRAIN = 0.5
"""Laplacian in grey levels below which a picture counts as smooth: rounding makes as much."""


@dataclass(frozen=True)
class Axis:
    """One in-plane axis: source range that is cut out, and the model's cells inside it.

    ``low`` and ``high`` are the cells' borders in pixels of the cut; ``cells`` their number.
    """

    cut: slice
    low: float
    high: float
    cells: int


class Sight:
    """A region of an image, seen at the model's side.

    Args:
        image: gives shape, scale and polarity.
        mask: the destroyed region, bool ``[X, Y, Z]``.
        window: what the picture is looked at through; None for 8-bit pictures.
        side: longest side of the picture that the model gets; smaller pictures stay as they are.
        finding: what had been marked, where the region was grown; contrast is that of the finding, while
            texture and surroundings are those of the region.
    """

    def __init__(self, image: Image, mask: Mask, window: Window | None, side: int, finding: Mask | None = None) -> None:
        self.image = image
        self.window = window
        self.side = side
        self.region = mask
        box = box_of(mask)
        filled = np.flatnonzero(mask[box].any(axis=(0, 1))) + box[2].start
        chosen = np.linspace(0, len(filled) - 1, min(SLICES, len(filled))).round().astype(int)
        self.slices = [int(z) for z in filled[chosen]]
        shrink = max(1.0, max(mask.shape[:2]) / side)
        self.width = max(2.0, ring_width(mask) / shrink)
        margin = (self.width + 3) * shrink
        self.axes = tuple(_axis(box[axis], mask.shape[axis], shrink, margin) for axis in range(2))
        self.scaled = shrink > 1
        self._finding = mask if finding is None else finding

    def _cut(self, z: int) -> tuple[slice, slice, int]:
        return self.axes[0].cut, self.axes[1].cut, z

    def _shrunk(self, plane: npt.NDArray[np.float32], how: Pillow.Resampling) -> Values:
        if not self.scaled:
            return plane.astype(np.float64)
        across, down = self.axes[1], self.axes[0]
        picture = Pillow.fromarray(plane).resize(
            (across.cells, down.cells), how, box=(across.low, down.low, across.high, down.high)
        )
        return np.asarray(picture, np.float64)

    def _seen(self, array: Array, z: int) -> Values:
        """Grey levels 0-255 (not rounded) of the cut of one slice, shrunk."""
        values = self.image.scaled(array[self._cut(z)])
        values = values.mean(axis=-1) if values.ndim == 3 else values
        if self.window is not None:
            low = self.window.center - self.window.width / 2
            values = np.clip((values - low) / self.window.width, 0, 1) * 255
        return self._shrunk(values.astype(np.float32), Pillow.Resampling.BICUBIC)

    @functools.cached_property
    def places(self) -> list[tuple[Mask, Mask, Mask]]:
        """For each slice the pixels of finding, region and ring."""
        return [
            (inside(self._share(self._finding, z)), inside(share := self._share(self.region, z)), self._ring(share))
            for z in self.slices
        ]

    def _share(self, mask: Mask, z: int) -> Values:
        return self._shrunk(mask[self._cut(z)].astype(np.float32), Pillow.Resampling.BOX)

    def _ring(self, share: Values) -> Mask:
        away = ndimage.distance_transform_edt(~inside(share))
        return np.asarray((share == 0) & (away <= self.width))

    def look(self, array: Array) -> "Look":
        """How finding and region look in ``array`` (shape and type of the image's)."""
        parts: list[tuple[Values, Values, Values, Values]] = []
        for z, (finding, region, ring) in zip(self.slices, self.places, strict=True):
            plane = self._seen(array, z)
            edges = np.abs(ndimage.laplace(plane, mode="nearest"))
            parts.append((plane[finding], plane[ring], edges[region], edges[ring]))
        return Look(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Look:
    """Grey levels of a finding and around its region, and the size of the Laplacian in region and ring."""

    finding: Values
    near: Values
    rough: Values
    rough_near: Values

    @property
    def contrast(self) -> float:
        """Mean of the finding minus mean of the ring in grey levels; 0 where there is no ring."""
        return float(self.finding.mean() - self.near.mean()) if self.near.size and self.finding.size else 0.0

    @property
    def texture(self) -> float | None:
        """How many times rougher the region is than its ring (root mean square of the Laplacian).

        1 means alike. Edges of anatomy in the ring are cut off: they are no texture. None without a ring.
        """
        if not self.near.size:
            return None
        limit = OUTLIERS * 1.4826 * float(np.median(self.rough_near)) or np.inf
        here, there = (float((v**2).mean()) for v in (self.rough, np.minimum(self.rough_near, limit)))
        return float(np.sqrt((here + GRAIN**2) / (there + GRAIN**2)))


def remaining(before: Look, after: Look) -> float | None:
    """Share of the finding's contrast that is left; negative where it turned over.

    None where there was none: less than ``NO_CONTRAST`` standard deviations of the ring.
    """
    if not before.near.size or abs(before.contrast) <= NO_CONTRAST * max(float(before.near.std()), GRAIN):
        return None
    return after.contrast / before.contrast


def inside(share: Values) -> Mask:
    """Pixels of which at least half lies in the region; the fullest where none does."""
    return np.asarray(share >= min(0.5, float(share.max()))) & (share > 0)


def _axis(extent: slice, size: int, shrink: float, margin: float) -> Axis:
    start, stop = max(0, int(extent.start - margin)), min(size, int(np.ceil(extent.stop + margin)))
    width = size / max(1, round(size / shrink))
    first, last = int(np.ceil(start / width - 1e-9)), int(np.floor(stop / width + 1e-9))
    low, high = max(0.0, first * width - start), min(float(stop - start), last * width - start)
    return Axis(slice(start, stop), low, high, max(1, last - first))
