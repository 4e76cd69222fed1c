"""Images between a clean one and its corrupted form, for objectives that rank images (LPOI)."""

from pathlib import Path

import numpy as np

from medpo_cli.imaging import corruption, nifti
from medpo_cli.imaging.image import Array, Image, Mask
from medpo_cli.imaging.sight import Sight


def between(clean: Array, corrupted: Array, mask: Mask, share: float) -> Array:
    """``clean + share (corrupted - clean)`` inside the region, rounded for integer types; a new array.

    Args:
        clean: ``[X, Y, Z]``, or ``[X, Y, Z, 3]`` for colour.
        corrupted: the same shape and type; equal to ``clean`` outside.
        mask: the region, bool ``[X, Y, Z]``.
        share: 0 gives ``clean``, 1 gives ``corrupted``.
    """
    start, end = (array[mask].astype(np.float64) for array in (clean, corrupted))
    values = start + share * (end - start)
    mixed = clean.copy(order="K")
    mixed[mask] = (np.rint(values) if clean.dtype.kind in "iu" else values).astype(clean.dtype)
    return mixed


def write(image: Image, end: Path, key: bytes, mask: Mask, share: float, sight: Sight | None = None) -> corruption.Made:
    """Write the image at ``share`` of the way from ``image`` to the corrupted file ``end``, and prove it.

    Args:
        image: the clean image.
        end: its corrupted form, written by ``corruption.destroy``; the new file lies beside it.
        key: 16 bytes that name the new file.
        mask: the region.
        share: how much is hidden, 0 to 1.
        sight: measures the proof at the model's side.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: writing failed midway, or voxels outside the region differ.
    """
    array = between(image.array, nifti.decode(end.read_bytes()).array, mask, share)
    return corruption.write(image, array, key, mask, end.parent, sight)
