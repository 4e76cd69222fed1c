"""Operators that put chance in a region's place, as published methods do.

They are kept to be compared with: noise of zero mean leaves most of a finding visible at a model's
resolution, and all of them look unlike tissue. The proof in each record says how much.
"""

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.operators.base import Settings, Values, inside, is_grey, parts_of, placed, whole
from medpo_cli.imaging.regions import box_of, ring, ring_width

STEPS = 1000
"""Length of the diffusion schedule."""


def gaussian(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Add N(0, sigma) inside the mask: the operator of the FiRe-MPO paper.

    Grey pictures get one noise field for all channels, coloured ones three.

    Args:
        array: ``[X, Y, Z]`` or ``[X, Y, Z, 3]``.
        mask: bool ``[X, Y, Z]``.
        rng: the random stream; one draw per voxel of the mask in C order, or per block of ``step`` pixels.
        settings: ``sigma``, ``unit`` and ``step``.
    """
    noise = normals(array, mask, rng, settings.step) * (settings.sigma * settings.unit)
    return placed(array, mask, inside(array, mask) + noise)


def diffusion(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """The forward diffusion of VCD and POVID at ``timestep``, on the view's scale from -1 (black) to 1.

    Besides ``timestep`` it uses ``black``, ``sign``, ``unit`` and ``step``.
    """
    kept = alpha_bar(settings.timestep)
    scale = settings.sign * settings.unit * 127.5
    values = (inside(array, mask) - settings.black) / scale - 1
    values = np.sqrt(kept) * values + np.sqrt(1 - kept) * normals(array, mask, rng, settings.step)
    return placed(array, mask, settings.black + (values + 1) * scale)


def alpha_bar(timestep: int) -> float:
    """Share of the signal's variance left after ``timestep`` + 1 steps of VCD's sigmoid schedule."""
    beta = 1 / (1 + np.exp(-np.linspace(-6, 6, STEPS))) * (0.5e-2 - 1e-5) + 1e-5
    return float(np.cumprod(1 - beta)[timestep])


def replace(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Put N(0, sigma), cut to 0-255 of the view, in place of the values: MMedPO's near-black patch (sigma 10).

    It uses ``sigma``, ``black``, ``sign``, ``unit`` and ``step``.
    """
    noise = np.clip(normals(array, mask, rng, settings.step) * settings.sigma, 0, 255)
    values = settings.black + settings.sign * settings.unit * noise
    return placed(array, mask, np.broadcast_to(values, inside(array, mask).shape))


def shuffle(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Give the region's own values new places: the histogram stays exactly."""
    values = inside(array, mask)
    return placed(array, mask, values[rng.permutation(len(values))])


def ring_noise(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Draw each voxel from the values around its part of the region, with replacement.

    Raises:
        RecordError: ``mask-too-large`` where nothing lies around it.
    """
    values = np.zeros(array[box_of(mask)].shape)
    for part in parts_of(mask):
        known = around(array, whole(mask, part), mask)
        values[part] = known[rng.integers(len(known), size=int(part.sum()))]
    return placed(array, mask, values[mask[box_of(mask)]])


def around(array: Array, part: Mask, mask: Mask) -> Array:
    """Values in the ring of ``part``, all of ``mask`` left out.

    Raises:
        RecordError: ``mask-too-large``.
    """
    near = ring(part, ring_width(part)) & ~mask
    if not near.any():
        raise RecordError("mask-too-large", "the region leaves nothing around it to fill it from")
    return np.asarray(array[near])


def normals(array: Array, mask: Mask, rng: np.random.Generator, step: float) -> Values:
    """Standard normal noise at the region's voxels: ``[n]``, ``[n, 1]`` (grey colour pictures) or ``[n, 3]``.

    With ``step`` above 1 all pixels of a block of the picture share a draw.
    """
    box = box_of(mask)
    channels = () if array.ndim == 3 else (1,) if is_grey(array) else (3,)
    if step <= 1:
        return rng.standard_normal((np.count_nonzero(mask), *channels))
    columns, rows = (np.floor(np.arange(box[axis].start, box[axis].stop) / step).astype(int) for axis in range(2))
    columns, rows = columns - columns[0], rows - rows[0]
    field = rng.standard_normal((columns[-1] + 1, rows[-1] + 1, box[2].stop - box[2].start, *channels))
    return np.asarray(field[columns[:, None], rows[None]][mask[box]])
