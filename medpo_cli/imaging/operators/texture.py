"""The default operator: a harmonic fill with the texture of the surroundings."""

import numpy as np
from scipy import fft, ndimage

from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.operators.base import Settings, Values, parts_of, placed, whole
from medpo_cli.imaging.operators.fill import harmonic_values
from medpo_cli.imaging.regions import box_of, radius, ring, ring_width


def harmonic_texture(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Harmonic fill plus local texture: the surroundings' residual spectrum with random phases.

    The texture has the standard deviation of the residual in a ring around the region, so that neither
    the finding nor an unnaturally smooth or noisy patch is left to recognise.
    """
    base = harmonic_values(array, mask, settings.spacing)
    texture = texture_values(array, mask, rng)
    return placed(array, mask, base + (texture[:, None] if base.ndim == 2 else texture))


def texture_values(array: Array, mask: Mask, rng: np.random.Generator) -> Values:
    """Zero-mean texture ``[n]`` at the voxels of ``mask`` (C order), in stored units.

    Regions that do not touch each get the texture of their own surroundings.
    """
    box = box_of(mask)
    field = np.zeros(mask[box].shape)
    for part in parts_of(mask):
        field[part] = part_texture(array, whole(mask, part), mask, rng)
    return np.asarray(field[mask[box]])


def part_texture(array: Array, part: Mask, mask: Mask, rng: np.random.Generator) -> Values:
    """Texture of one connected part; all of ``mask`` is left out of what it is learned from.

    The residual of a window around the part (two radii) after a low pass of radius / 6 gives the
    magnitudes, white noise the phases. Edges of anatomy are no texture: residuals are limited to three
    robust standard deviations.
    """
    size = radius(part)
    box = box_of(part, margin=int(np.ceil(2 * size)))
    inside, hole = part[box], mask[box]
    values = array[box].astype(np.float64)
    residual = local_residual(values.mean(axis=-1) if values.ndim == 4 else values, hole, max(1.0, size / 6))
    del values
    near = ring(inside, ring_width(part)) & ~hole
    known = residual[near] if near.any() else np.zeros(1)
    limit = 3 * 1.4826 * float(np.median(np.abs(known)))
    np.clip(residual, -limit, limit, out=residual)  # In place from here on: windows of large lesions are large.
    spectrum = fft.rfftn(rng.standard_normal(inside.shape))
    spectrum /= np.maximum(np.abs(spectrum), 1e-300)
    spectrum *= np.abs(fft.rfftn(residual))
    field = fft.irfftn(spectrum, s=inside.shape)[inside]
    target = float(np.clip(known, -limit, limit).std())
    spread = float(field.std())
    return np.asarray((field - field.mean()) * (target / spread if spread > 0 else 0.0))


def local_residual(values: Values, hole: Mask, sigma: float) -> Values:
    """``values`` minus a Gaussian low pass that ignores ``hole`` (normalised convolution); 0 in the hole."""
    widths = (sigma, sigma, 0.0 if values.shape[2] == 1 else sigma)
    weight = (~hole).astype(np.float64)
    smooth = values * weight
    for field in (weight, smooth):
        ndimage.gaussian_filter(field, widths, mode="constant", output=field)
    smooth /= np.maximum(weight, 1e-12, out=weight)
    np.subtract(values, smooth, out=smooth)
    smooth[hole] = 0
    return np.asarray(smooth)
