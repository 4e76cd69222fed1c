"""Proof, from the written file, that a corruption changed its region and nothing else."""

import hashlib
from pathlib import Path

import numpy as np

from medpo_cli.errors import OutputError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.image import Array, Image, Mask, file_order
from medpo_cli.imaging.regions import box_of, fraction, region_hash, ring, ring_width
from medpo_cli.imaging.sight import Sight, remaining
from medpo_cli.schema.records import RegionProof


def outside_hash(array: Array, mask: Mask) -> str:
    """sha256 (hex) of type, shape and voxels (order of NIfTI, little endian) with the region zeroed."""
    digest = hashlib.sha256(f"{array.dtype.newbyteorder('<').str} {array.shape} ".encode())
    touched = np.asarray(mask.any(axis=(0, 1)))
    for z in range(array.shape[2]):  # slice by slice: no second volume in memory
        plane = array[:, :, z : z + 1]
        if touched[z]:
            plane = plane.copy(order="K")
            plane[mask[:, :, z : z + 1]] = 0
        digest.update(file_order(plane).data)
    return digest.hexdigest()


def contrast(image: Image, array: Array, mask: Mask, near: Mask) -> float:
    """Mean inside the region minus mean of the ring ``near`` in image units; 0 without a ring."""
    if not near.any():
        return 0.0
    return float(image.scaled(array[mask]).mean() - image.scaled(array[near]).mean())


def prove(source: Image, path: Path, mask: Mask, sight: Sight | None = None) -> RegionProof:
    """Read ``path`` again and compare it with its source.

    Args:
        source: the image before.
        path: the written .nii.gz.
        mask: the region, bool ``[X, Y, Z]``.
        sight: measures at the model's side, too.

    Raises:
        OutputError: the file does not hold what was to be written (grid, type, scale, or outside voxels).
    """
    result = nifti.decode(path.read_bytes())
    outside = outside_hash(source.array, mask)
    if not same_but_values(source, result) or outside_hash(result.array, mask) != outside:
        raise OutputError("a written image differs from its source outside the region")
    return measured(source, result.array, mask, outside, sight)


def same_but_values(source: Image, result: Image) -> bool:
    """Whether type, shape, scale, polarity and geometry are equal (not alike: equal)."""
    return (
        result.array.dtype == source.array.dtype
        and result.array.shape == source.array.shape
        and (result.slope, result.inter, result.inverted) == (source.slope, source.inter, source.inverted)
        and np.array_equal(_affine(result), _affine(source))
    )


def measured(source: Image, array: Array, mask: Mask, outside: str, sight: Sight | None = None) -> RegionProof:
    """The numbers of a proof, for an ``array`` that is known to differ from its source inside the region only."""
    width = ring_width(mask)
    box = box_of(mask, int(np.ceil(width)))
    region, before, after = mask[box], source.array[box], array[box]
    different = before[region] != after[region]
    changed = different.any(axis=-1) if different.ndim == 2 else different
    near = ring(region, width)
    tight = box_of(mask)
    look = None if sight is None else sight.look(array)
    return RegionProof(
        mask=region_hash(mask),
        voxels=int(np.count_nonzero(mask)),
        fraction=fraction(mask),
        changed=float(changed.mean()),
        outside=outside,
        contrast_before=contrast(source, before, region, near),
        contrast_after=contrast(source, after, region, near),
        box=(*(side.start for side in tight), *(side.stop for side in tight)),
        side=None if sight is None else sight.side,
        remaining=None if sight is None or look is None else remaining(sight.look(source.array), look),
        texture=None if look is None else look.texture,
    )


def _affine(image: Image) -> Array:
    return np.zeros((4, 4)) if image.affine is None else image.affine
