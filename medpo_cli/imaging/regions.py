"""Regions of a record as boolean masks on the grid of its image."""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from medpo_cli.errors import RecordError
from medpo_cli.imaging import marks, segmentation, structures
from medpo_cli.imaging.geometry import from_picture, same_grid, to_picture
from medpo_cli.imaging.image import Array, Image, Mask
from medpo_cli.imaging.polygon import inside_polygon
from medpo_cli.imaging.window import checked_source, frame_of
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Region

MIN_VOXELS = 4
"""Smaller regions are clicks, not lesions."""
MAX_FRACTION = 0.4
"""Above this share of the picture (volume) a region is no longer local."""
SPACING_TOLERANCE = 0.01


def region_mask(region: Region, image: Image, context: Context, frame: int | None, field: str) -> Mask:
    """Mask ``[X, Y, Z]`` of one region.

    Args:
        region: a mask file on the image's grid, or a box or polygon on the displayed picture.
        image: what the region lies on.
        context: gives the root.
        frame: index of axis 2 that a box or polygon lies on.
        field: JSON path that errors name.

    Raises:
        RecordError: ``mask-empty``, ``mask-too-small``, ``mask-not-binary``, ``mask-label``,
            ``geometry-mismatch``, or what reading the file raises.
    """
    _check_spacing(region, image, field)
    if region.mask is not None:
        mask = _file_mask(region, image, context, field)
    else:
        mask = drawn_mask(_corners(region), image, frame)
    voxels = int(np.count_nonzero(mask))
    if voxels == 0:
        raise RecordError("mask-empty", "the region has no voxel inside the image", field)
    if voxels < MIN_VOXELS:
        raise RecordError("mask-too-small", f"the region has fewer than {MIN_VOXELS} voxels", field)
    return mask


def _check_spacing(region: Region, image: Image, field: str) -> None:
    if region.spacing is None or image.spacing is None:
        return
    pairs = list(zip(region.spacing, image.spacing, strict=False))
    if any(abs(one - other) > SPACING_TOLERANCE * other for one, other in pairs):
        raise RecordError("geometry-mismatch", "the region's spacing is not the image's", f"{field}.spacing")


def box_mask(region: Region, image: Image, frame: int | None) -> Mask:
    """Pixels whose centre lies in the region's box on the displayed picture of one slice."""
    return drawn_mask(_corners(region), image, frame)


def _corners(region: Region) -> Sequence[tuple[float, float]]:
    if region.polygon is not None:
        return region.polygon
    assert region.box is not None  # noqa: S101 - a region has a mask, a box or a polygon (schema)
    x0, y0, x1, y1 = region.box
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def drawn_mask(corners: Sequence[tuple[float, float]], image: Image, frame: int | None) -> Mask:
    """What ``inside_polygon`` holds on the displayed picture of one slice, on the image's grid."""
    index = frame_of(image, frame)
    height, width = to_picture(image.array[:, :, index], image.affine).shape[:2]
    mask = np.zeros(image.shape, bool, order="F")
    mask[:, :, index] = from_picture(inside_polygon(corners, height, width), image.affine)
    return mask


def _file_mask(region: Region, image: Image, context: Context, field: str) -> Mask:
    assert region.mask is not None  # noqa: S101 - the caller looked
    source = checked_source(region.mask, context, f"{field}.mask", marks=True)
    if source.marks is not None:
        number = marks.chosen(source.marks, region.mask.value, region.label, f"{field}.mask")
        marks.check_frame(source.marks, image.frame_of_reference, f"{field}.mask")
        laid = segmentation.mask if source.marks.kind == "planes" else structures.mask
        return laid(source.marks, source.image.array, number, image, f"{field}.mask")
    other = source.image
    if other.kind == "jpeg":
        raise RecordError("mask-not-binary", "JPEG changes values; save the mask as PNG or NIfTI", f"{field}.mask")
    if not same_grid(image, other):
        raise RecordError("geometry-mismatch", "mask and image do not share one grid", f"{field}.mask")
    return select(labels_of(other, field), region.mask.value, field, soft=other.kind in ("png", "tiff"))


def labels_of(mask: Image, field: str) -> Array:
    """``[X, Y, Z]`` whole numbers of a mask file."""
    array = mask.array
    if mask.colour:
        if (array != array[..., :1]).any():
            raise RecordError("mask-not-binary", "the mask is a colour picture", f"{field}.mask")
        array = array[..., 0]
    values = array if (mask.slope, mask.inter) == (1.0, 0.0) else mask.scaled(array)
    if values.dtype.kind == "f" and (values % 1 != 0).any():
        raise RecordError("mask-not-binary", "the mask holds fractions; apply a threshold first", f"{field}.mask")
    return values


def select(labels: Array, value: int | None, field: str, *, soft: bool) -> Mask:
    """Voxels of label ``value``, or any non-zero; ``soft`` refuses many grey levels (a smoothed mask)."""
    if value is not None:
        mask: Mask = labels == value
        if not mask.any() and labels.any():
            raise RecordError("mask-label", "the mask holds no voxel of the given value", f"{field}.mask.value")
        return mask
    mask = labels != 0
    if soft and mask.any() and labels[mask].min() != labels[mask].max():
        raise RecordError("mask-not-binary", "the mask has several grey levels; name one by value", f"{field}.mask")
    return mask


def union(masks: Sequence[Mask]) -> Mask:
    """All voxels of any of the masks; a first one that holds the others is given back as it is."""
    whole = masks[0]
    for mask in masks[1:]:
        if (mask > whole).any():
            whole = whole | mask
    return whole


def region_hash(mask: Mask) -> str:
    """sha256 (hex) of shape and voxels, whichever file, label or box the region came from."""
    bits = np.packbits(mask.transpose(2, 1, 0))
    return hashlib.sha256(repr(mask.shape).encode() + bits.tobytes()).hexdigest()


def fraction(mask: Mask) -> float:
    """Share of the image that the region covers; of its slice where it lies on one."""
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    size = mask[:, :, 0].size if slices.size == 1 else mask.size
    return float(np.count_nonzero(mask) / size)


def ring(mask: Mask, width: float) -> Mask:
    """Voxels outside ``mask`` at most ``width`` (in voxels) from it, on its own slices."""
    box = box_of(mask, int(np.ceil(width)))
    distance = distance_transform_edt(~mask[box], sampling=(1.0, 1.0, 1e6))
    near = np.zeros_like(mask)
    near[box] = (distance > 0) & (distance <= width)
    return near


def grown(mask: Mask, pixels: int, lesions: Mask) -> Mask:
    """``mask`` and all that lies at most ``pixels`` from it on its own slices, but for other ``lesions``."""
    if not pixels:
        return mask
    # In place: each whole mask beside an int16 volume is half its size.
    near = ring(mask, pixels)
    near[lesions] = False
    near |= mask
    return near


def radius(mask: Mask) -> float:
    """Radius in voxels of the disc (one slice) or ball (several) with as many voxels."""
    voxels = np.count_nonzero(mask)
    flat = np.count_nonzero(mask.any(axis=(0, 1))) == 1
    return float((voxels / np.pi) ** 0.5 if flat else (0.75 * voxels / np.pi) ** (1 / 3))


def ring_width(mask: Mask) -> float:
    """Width in voxels of the surroundings a region is compared with: 0.4 radii, at least 2."""
    return max(2.0, 0.4 * radius(mask))


def box_of(mask: Mask, margin: int = 0) -> tuple[slice, slice, slice]:
    """Bounding box of a mask grown by ``margin``, cut at the image; a flat mask grows in its plane only."""
    flat = np.count_nonzero(mask.any(axis=(0, 1))) == 1
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        grow = 0 if axis == 2 and flat else margin
        slices.append(slice(max(0, int(hit[0]) - grow), min(mask.shape[axis], int(hit[-1]) + 1 + grow)))
    return slices[0], slices[1], slices[2]
