"""What operators share: their settings, the copy they return, the parts of a region."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.regions import box_of

Values = npt.NDArray[np.float64]
PARTS = 16
"""Unconnected parts of a region that are worked on one by one; what is left over counts as one."""


@dataclass(frozen=True)
class Settings:
    """What operators take beside array and mask; each uses what its docstring names.

    Attributes:
        sigma: standard deviation of noise on the 0-255 scale of the view.
        unit: one step of that scale in stored values: 1 for 8-bit pictures, window width / 255 else.
        black: stored value that is shown black.
        sign: -1 where higher stored values are shown darker.
        spacing: voxel size along x, y, z; only ratios matter.
        step: pixels that one draw of noise covers along x and y: above 1, what is drawn has its sigma at
            the model's side instead of the file's.
        timestep: of 1000 diffusion steps.
        blur: standard deviation in radii of the region.
        patch: side of a patch in pixels.
        share: probability that a patch is blackened.
        axis: voxel axis that left and right lie along; -1 where there is none.
        total: sum of two mirrored indices along ``axis``.
    """

    sigma: float = 45.0
    unit: float = 1.0
    black: float = 0.0
    sign: float = 1.0
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    step: float = 1.0
    timestep: int = 500
    blur: float = 0.5
    patch: float = 14.0
    share: float = 0.6
    axis: int = -1
    total: int = 0


Operator = Callable[[Array, Mask, np.random.Generator, Settings], Array]


def placed(array: Array, mask: Mask, values: Values) -> Array:
    """Copy of ``array`` with ``values`` (``[n]`` or ``[n, 3]``, C order) inside the mask.

    Whole numbers are rounded (not truncated) and clipped to the range of the type, never to a window.
    """
    out = array.copy(order="K")  # File order: another one costs two transpositions of a volume.
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    box = box_of(mask)
    out[box][mask[box]] = values.astype(array.dtype)
    return out


def inside(array: Array, mask: Mask) -> Values:
    """Values of the region as floats, ``[n]`` or ``[n, 3]``, in C order."""
    box = box_of(mask)
    return np.asarray(array[box][mask[box]].astype(np.float64))


def is_grey(array: Array) -> bool:
    """Whether all channels of a picture are equal: three noise fields on it would be colour speckle."""
    return array.ndim == 3 or bool((array == array[..., :1]).all())


def parts_of(mask: Mask) -> list[Mask]:
    """The ``PARTS`` largest unconnected parts as masks of the bounding box, then the rest as one."""
    labels, count = ndimage.label(mask[box_of(mask)])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable") + 1
    parts = [labels == label for label in order[:PARTS]]
    if count > PARTS:
        parts.append((labels > 0) & ~np.isin(labels, order[:PARTS]))
    return parts


def whole(mask: Mask, part: Mask) -> Mask:
    """A part of ``parts_of`` as a mask of the whole image; ``mask`` itself where it is the only part."""
    if np.array_equal(part, mask[box_of(mask)]):
        return mask
    full = np.zeros_like(mask)
    full[box_of(mask)] = part
    return full
