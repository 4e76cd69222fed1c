"""Operators that fill a region from its surroundings; those here are smooth."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import linalg

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.operators.base import Settings, Values, parts_of, placed, whole
from medpo_cli.imaging.operators.noise import around
from medpo_cli.imaging.regions import box_of, radius

DIRECT = 20_000
"""Voxels up to which a Laplace system of a plane is solved directly; above, and in volumes, by iteration."""
BIHARMONIC = 20_000
"""Largest region in voxels for the biharmonic fill, whose cost grows faster than the region."""


def harmonic(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Replace the region by the smoothest continuation of its border: the solution of Laplace's equation."""
    return placed(array, mask, harmonic_values(array, mask, settings.spacing))


def biharmonic(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Replace the region by a continuation of its border's values and slopes (scikit-image); voxels count as cubes.

    Raises:
        RecordError: ``mask-too-large`` above ``BIHARMONIC`` voxels, or where nothing lies around the region.
    """
    from skimage.restoration import inpaint_biharmonic

    box = box_of(mask, margin=3)
    unknown, values = mask[box], array[box].astype(np.float64)
    if np.count_nonzero(unknown) > BIHARMONIC or unknown.all():
        raise RecordError("mask-too-large", f"the biharmonic fill needs surroundings and at most {BIHARMONIC} voxels")
    flat = unknown.shape[2] == 1
    known = values[:, :, 0] if flat else values
    filled = inpaint_biharmonic(
        known, unknown[:, :, 0] if flat else unknown, channel_axis=-1 if values.ndim == 4 else None
    )
    return placed(array, mask, filled.reshape(values.shape)[unknown])


def ring_median(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Give each part of the region the median of what surrounds it.

    Raises:
        RecordError: ``mask-too-large`` where nothing does.
    """
    values = np.zeros(array[box_of(mask)].shape)
    for part in parts_of(mask):
        values[part] = np.median(around(array, whole(mask, part), mask).astype(np.float64), axis=0)
    return placed(array, mask, values[mask[box_of(mask)]])


def blur(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Smooth each part of the region by a Gaussian of ``blur`` times its radius (in its plane if it is flat)."""
    values = np.zeros(array[box_of(mask)].shape)
    for part in parts_of(mask):
        one = whole(mask, part)
        width = settings.blur * radius(one)
        box = box_of(one, margin=int(np.ceil(4 * width)))
        widths = (width, width, 0.0 if one[box].shape[2] == 1 else width, *([0.0] * (array.ndim - 3)))
        smooth = ndimage.gaussian_filter(array[box].astype(np.float64), widths, mode="nearest")
        values[part] = smooth[one[box]]
    return placed(array, mask, values[mask[box_of(mask)]])


def mirror(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Put what lies at the mirrored place of the other side into the region, levelled at its border.

    The difference of both sides around the region is continued into it (Laplace) and added, so that no
    step in brightness is left. It uses ``axis``, ``total`` and ``spacing``; whether the other side may
    be used (no lesion, no air) is for the caller to know.

    Raises:
        RecordError: ``no-mirror`` where the image has no left and right, or the place lies outside.
    """
    box = box_of(mask, margin=1)
    if settings.axis < 0:
        raise RecordError("no-mirror", "the image has no left and right in its plane")
    size = array.shape[settings.axis]
    source = settings.total - np.arange(box[settings.axis].start, box[settings.axis].stop)
    region = np.flatnonzero(mask[box].any(axis=tuple(axis for axis in range(3) if axis != settings.axis)))
    if source[region].min() < 0 or source[region].max() >= size:
        raise RecordError("no-mirror", "the mirrored place lies outside the image")
    place = list(box)
    place[settings.axis] = slice(None)
    donor = np.take(array[tuple(place)], np.clip(source, 0, size - 1), axis=settings.axis).astype(np.float64)
    step = harmonic_values(array[box].astype(np.float64) - donor, mask[box], settings.spacing)
    return placed(array, mask, donor[mask[box]] + step)


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
