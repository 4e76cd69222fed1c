"""The one way an image becomes the 8-bit picture that models and pages see.

A view depends only on what a written NIfTI keeps (voxels, geometry, scale, polarity) and on the frame, montage
or projection and window of its reference, so a corrupted file is seen exactly as its source outside the region.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from medpo_cli.errors import RecordError
from medpo_cli.imaging.geometry import to_picture
from medpo_cli.imaging.image import Array, Image
from medpo_cli.imaging.read import Source, open_source
from medpo_cli.io.context import Context
from medpo_cli.schema.records import ImageRef, MaskRef, Window

PERCENTILES = (1.0, 99.0)
MAX_STATISTIC = 2**22
"""Voxels that percentiles are taken from; larger images are read with an even stride."""


Projection = Literal["max", "min", "mean"]


def view(
    image: Image,
    *,
    frame: int | None = None,
    window: Window | None = None,
    montage: Sequence[int] | None = None,
    projection: Projection | None = None,
) -> npt.NDArray[np.uint8]:
    """Picture ``[H, W, 3]`` uint8 in radiological display orientation (as stored without patient geometry).

    Args:
        image: what ``read_image`` gave.
        frame: index of axis 2; may be absent where there is only one.
        window: overrides the file's window; unused for colour.
        montage: indices of axis 2 to show beside each other, in reading order, instead of one frame.
        projection: what to show of all of axis 2 instead, of the values as they look (MONOCHROME1 counts inverted).

    Raises:
        RecordError: ``frame-missing`` or ``frame-out-of-range``.
    """
    limits = resolve_window(image, window)

    def shown(plane: Array) -> Array:
        return plane if image.colour else grey(image, plane, limits)

    picture = laid_out(image, image.array, shown, frame=frame, montage=montage, projection=projection)
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    return np.ascontiguousarray(picture)


def laid_out(
    image: Image,
    array: Array,
    shown: Callable[[Array], Array],
    *,
    frame: int | None = None,
    montage: Sequence[int] | None = None,
    projection: Projection | None = None,
) -> Array:
    """Planes of ``array`` [X, Y, Z, ...], on the grid of ``image``, where ``view`` puts those of the image.

    Args:
        image: gives the orientation.
        array: voxels to lay out: the image's own, or a mask.
        shown: what a plane [X, Y, ...] looks like.
        frame: as in ``view``.
        montage: as in ``view``.
        projection: as in ``view``.
    """
    if montage is not None:
        for index in montage:
            frame_of(image, index)
        return side_by_side([to_picture(shown(array[:, :, index]), image.affine) for index in montage])
    if projection is not None:
        planes = (shown(array[:, :, index]) for index in range(image.shape[2]))
        return to_picture(_projected(planes, image.shape[2], projection), image.affine)
    return to_picture(shown(array[:, :, frame_of(image, frame)]), image.affine)


def side_by_side(pictures: Sequence[Array]) -> Array:
    """Equal pictures ``[H, W, ...]`` in rows, as near to a square of pictures as can be; the rest is 0."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    sheet = np.zeros((rows * height, columns * width, *pictures[0].shape[2:]), pictures[0].dtype)
    for place, picture in enumerate(pictures):
        y, x = place // columns * height, place % columns * width
        sheet[y : y + height, x : x + width] = picture
    return sheet


def _projected(planes: Iterable[Array], count: int, projection: Projection) -> Array:
    """One plane of many, without holding them all."""
    start = iter(planes)
    first = next(start)
    if projection == "mean":
        total = sum((plane.astype(np.float64) for plane in start), first.astype(np.float64))
        return np.rint(total / count).astype(first.dtype)
    return functools.reduce(np.maximum if projection == "max" else np.minimum, start, first)


def frame_of(image: Image, frame: int | None) -> int:
    """The index of axis 2 to show."""
    count = image.shape[2]
    if frame is None and count > 1:
        raise RecordError(
            "frame-missing",
            f"an image of {count} slices needs frame (index along the third axis), montage or projection",
        )
    if frame is not None and frame >= count:
        raise RecordError("frame-out-of-range", f"frame {frame} of {count}")
    return frame or 0


def spread(depth: int, count: int) -> tuple[int, ...]:
    """At most ``count`` indices of ``depth`` slices, evenly spaced, none at the very ends where there is a choice."""
    count = min(count, depth)
    return tuple(int((2 * place + 1) * depth / (2 * count)) for place in range(count))


def resolve_window(image: Image, window: Window | None = None) -> Window | None:
    """Explicit window, else the file's, else None for 8-bit images (shown as they are), else percentiles."""
    if image.colour:
        return None
    if window is not None or image.window is not None:
        return window or image.window
    return None if image.plain else percentile_window(image)


def percentile_window(image: Image) -> Window:
    """From the 1st to the 99th percentile of all voxels that are not padding."""
    values = image.array if image.padding is None else image.array[~image.padding]
    flat = values.ravel(order="K")
    flat = flat[:: -(-flat.size // MAX_STATISTIC)] if flat.size else image.array.ravel()
    low, high = sorted(float(limit) for limit in image.scaled(np.percentile(flat, PERCENTILES)))
    if high <= low:
        low, high = sorted(float(limit) for limit in image.scaled(np.array([flat.min(), flat.max()])))
    return Window(center=(low + high) / 2, width=(high - low) if high > low else 1.0)


def grey(image: Image, plane: Array, window: Window | None) -> npt.NDArray[np.uint8]:
    """Values of ``plane`` on 0-255: linear between the window's limits, rounded; MONOCHROME1 inverted last."""
    if window is None:
        shown = plane.astype(np.uint8)
    else:
        with np.errstate(over="ignore"):  # a window next to nothing wide is a threshold
            share = (image.scaled(plane) - (window.center - window.width / 2)) / window.width
        shown = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return 255 - shown if image.inverted else shown


def checked_source(ref: ImageRef | MaskRef, context: Context, field: str, *, marks: bool = False) -> Source:
    """Open what ``ref`` names: under the root, and with the sha256 it must have; ``marks`` as ``open_source``."""
    path = context.resolve(ref.path, f"{field}.path", folder=isinstance(ref, ImageRef))
    source = open_source(path, f"{field}.path", marks=marks)
    if ref.sha256 is not None and ref.sha256 != source.sha256:
        raise RecordError("sha256-mismatch", "the file is not the one that the record names", f"{field}.sha256")
    return source


def load_view(ref: ImageRef, context: Context, field: str = "$.image") -> npt.NDArray[np.uint8]:
    """Picture ``[H, W, 3]`` uint8 that a record's image reference stands for.

    Args:
        ref: path under the root, expected hash, frame, window.
        context: gives the root.
        field: JSON path that errors name.

    Raises:
        RecordError: codes of ``Context.resolve``, ``read_image`` and ``view``, and ``sha256-mismatch``.
    """
    source = checked_source(ref, context, field)
    try:
        return view(source.image, frame=ref.frame, window=ref.window, montage=ref.montage, projection=ref.projection)
    except RecordError as error:
        raise RecordError(error.reason, error.message, f"{field}.{'montage' if ref.montage else 'frame'}") from None
