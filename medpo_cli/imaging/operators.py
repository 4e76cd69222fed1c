"""Operators that destroy what a region shows: pure functions of array, mask and random stream.

All return a copy of the array that differs inside the mask only, of the same type: whole numbers are
rounded (not truncated) and clipped to the range of the type, never to a window.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, sparse
from scipy.sparse import linalg

from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.regions import box_of, radius, ring, ring_width

Values = npt.NDArray[np.float64]
DIRECT = 20_000
"""Voxels up to which a Laplace system of a plane is solved directly; above, and in volumes, by iteration."""
PARTS = 16
"""Unconnected parts of a region that are given a texture each."""


@dataclass(frozen=True)
class Settings:
    """What operators take beside array and mask.

    Attributes:
        sigma: standard deviation of noise on the 0-255 scale.
        unit: one step of that scale in stored values: 1 for 8-bit pictures, window width / 255 else.
        spacing: voxel size along x, y, z; only ratios matter.
    """

    sigma: float = 45.0
    unit: float = 1.0
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


Operator = Callable[[Array, Mask, np.random.Generator, Settings], Array]


def gaussian(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Add N(0, sigma) inside the mask: the operator of the FiRe-MPO paper.

    Grey pictures get one noise field for all channels (three would be colour speckle), coloured ones three.

    Args:
        array: ``[X, Y, Z]`` or ``[X, Y, Z, 3]``.
        mask: bool ``[X, Y, Z]``.
        rng: the random stream; one draw per voxel of the mask, in C order.
        settings: ``sigma`` and ``unit`` are used.
    """
    box = box_of(mask)
    inside = array[box][mask[box]].astype(np.float64)
    grey = inside.ndim == 1 or bool((array == array[..., :1]).all())
    noise = rng.standard_normal(inside.shape[:1] if grey else inside.shape) * (settings.sigma * settings.unit)
    return _placed(array, mask, inside + (noise[:, None] if grey and inside.ndim == 2 else noise))


def harmonic(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Replace the region by the smoothest continuation of its border: the solution of Laplace's equation."""
    return _placed(array, mask, harmonic_values(array, mask, settings.spacing))


def harmonic_texture(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Harmonic fill plus local texture: the surroundings' residual spectrum with random phases.

    The texture has the standard deviation of the residual in a ring around the region, so that neither
    the finding nor an unnaturally smooth or noisy patch is left to recognise.
    """
    base = harmonic_values(array, mask, settings.spacing)
    texture = texture_values(array, mask, rng)
    return _placed(array, mask, base + (texture[:, None] if base.ndim == 2 else texture))


OPERATORS: dict[str, Operator] = {
    "harmonic-texture": harmonic_texture,
    "harmonic": harmonic,
    "gaussian": gaussian,
}


def _placed(array: Array, mask: Mask, values: Values) -> Array:
    """Copy of ``array`` with ``values`` (``[n]`` or ``[n, 3]``) inside the mask."""
    out = array.copy(order="K")  # File order: another one costs two transpositions of a volume.
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    box = box_of(mask)
    out[box][mask[box]] = values.astype(array.dtype)
    return out


def harmonic_values(array: Array, mask: Mask, spacing: tuple[float, float, float]) -> Values:
    """Laplace solution at the voxels of ``mask`` (C order): ``[n]``, or ``[n, 3]`` for colour.

    Border values are the known neighbours; the image's edge is free (no flow). A region on one slice is
    filled in its plane, else in three dimensions with weights 1 / spacing².

    Raises:
        ValueError: the mask leaves no known neighbour.
    """
    box = box_of(mask, margin=1)
    unknown, values = mask[box], array[box].astype(np.float64)
    if unknown.all():
        raise ValueError("a region without a border has no harmonic fill")
    matrix, known = _laplace(unknown, values, spacing)
    if unknown.shape[2] == 1 and matrix.shape[0] <= DIRECT:
        return np.asarray(linalg.splu(matrix.tocsc()).solve(known))
    columns = known.reshape(len(known), -1)
    solved = np.stack([_iterate(matrix, column) for column in columns.T], axis=1)
    return solved.reshape(known.shape)


def _laplace(unknown: Mask, values: Values, spacing: tuple[float, float, float]) -> tuple[sparse.csr_matrix, Values]:
    """Matrix and right side of the Laplace equation on the voxels of ``unknown``."""
    count = int(np.count_nonzero(unknown))
    index = np.full(unknown.shape, -1)
    index[unknown] = np.arange(count)
    diagonal = np.zeros(count)
    right = np.zeros((count, *values.shape[3:]))
    entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]] = []
    for axis in range(3):
        weight = (spacing[0] / spacing[axis]) ** 2
        low = tuple(slice(None, -1) if number == axis else slice(None) for number in range(3))
        high = tuple(slice(1, None) if number == axis else slice(None) for number in range(3))
        for here, there in ((low, high), (high, low)):
            rows = index[here][unknown[here]]
            neighbours = index[there][unknown[here]]
            free = neighbours >= 0
            diagonal += np.bincount(rows, minlength=count) * weight
            entries.append((rows[free], neighbours[free], -weight))
            np.add.at(right, rows[~free], values[there][unknown[here]][~free] * weight)
    rows = np.concatenate([entry[0] for entry in entries] + [np.arange(count)])
    columns = np.concatenate([entry[1] for entry in entries] + [np.arange(count)])
    weights = np.concatenate([np.full(len(entry[0]), entry[2]) for entry in entries] + [diagonal])
    return sparse.csr_matrix((weights, (rows, columns)), shape=(count, count)), right


def _iterate(matrix: sparse.csr_matrix, right: Values) -> Values:
    """Conjugate gradients with the diagonal as preconditioner."""
    inverse = 1.0 / matrix.diagonal()
    solution, _ = linalg.cg(matrix, right, rtol=1e-7, maxiter=2000, M=sparse.diags(inverse), x0=right * inverse)
    return np.asarray(solution)


def texture_values(array: Array, mask: Mask, rng: np.random.Generator) -> Values:
    """Zero-mean texture ``[n]`` at the voxels of ``mask`` (C order), in stored units.

    Regions that do not touch each get the texture of their own surroundings, the ``PARTS`` largest; what
    is left over counts as one.
    """
    box = box_of(mask)
    labels, count = ndimage.label(mask[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    field = np.zeros(labels.shape)
    order = np.argsort(-sizes, kind="stable") + 1
    groups = [labels == label for label in order[:PARTS]]
    if count > PARTS:
        groups.append((labels > 0) & ~np.isin(labels, order[:PARTS]))
    for group in groups:
        part = np.zeros_like(mask)
        part[box] = group
        field[group] = part_texture(array, part, mask, rng)
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
    values = values.mean(axis=-1) if values.ndim == 4 else values
    residual = local_residual(values, hole, max(1.0, size / 6))
    near = ring(inside, ring_width(part)) & ~hole
    known = residual[near] if near.any() else np.zeros(1)
    limit = 3 * 1.4826 * float(np.median(np.abs(known)))
    residual = np.clip(residual, -limit, limit)
    white = fft.rfftn(rng.standard_normal(inside.shape))
    phase = white / np.maximum(np.abs(white), 1e-300)
    field = fft.irfftn(np.abs(fft.rfftn(residual)) * phase, s=inside.shape)[inside]
    target = float(np.clip(known, -limit, limit).std())
    spread = float(field.std())
    return np.asarray((field - field.mean()) * (target / spread if spread > 0 else 0.0))


def local_residual(values: Values, hole: Mask, sigma: float) -> Values:
    """``values`` minus a Gaussian low pass that ignores ``hole`` (normalised convolution); 0 in the hole."""
    known = (~hole).astype(np.float64)
    widths = (sigma, sigma, 0.0 if values.shape[2] == 1 else sigma)
    weight = ndimage.gaussian_filter(known, widths, mode="constant")
    smooth = ndimage.gaussian_filter(values * known, widths, mode="constant") / np.maximum(weight, 1e-12)
    return np.asarray((values - smooth) * known)
