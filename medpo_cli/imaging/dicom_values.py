"""What DICOM says about values and place: modality transform, VOI window, geometry.

Enhanced multi-frame objects keep these in functional groups; shared ones are read before per-frame ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.pixels.processing import apply_modality_lut

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Affine, Array
from medpo_cli.schema.records import Window

STEP_TOLERANCE = 0.01
"""Largest relative deviation of slice steps that is still a volume."""


@dataclass(frozen=True)
class Place:
    """Affine (RAS+ mm) and spacing of a stack; ``frames`` where axis 2 is not a direction in space."""

    affine: Affine | None
    spacing: tuple[float, float, float] | None
    frames: bool


def group(dataset: Any, sequence: str, frame: int) -> Any | None:
    """Item of a functional group macro: per-frame, else shared, else None."""
    for holder, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(holder)
        if items is not None and index < len(items) and items[index].get(sequence):
            return items[index][sequence].value[0]
    return None


def decimals(holder: Any, name: str, count: int) -> list[float] | None:
    """``count`` finite numbers of a tag, None where absent.

    Raises:
        RecordError: ``bad-tag``.
    """
    try:
        value = None if holder is None else holder.get(name)
        if value is None or value == "":
            return None
        numbers = [float(item) for item in (value if count > 1 else [value])]
    except Exception:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise RecordError("bad-tag", f"{name} does not hold {count} finite numbers")
    return numbers


def rescale_of(holder: Any) -> tuple[float, float] | None:
    """Slope and intercept; ``bad-rescale`` where they are not numbers, not finite or the slope is 0."""
    try:
        slope = decimals(holder, "RescaleSlope", 1)
        inter = decimals(holder, "RescaleIntercept", 1)
    except RecordError:
        raise RecordError("bad-rescale", "rescale slope or intercept is not a finite number") from None
    if slope is None and inter is None:
        return None
    line = (slope[0] if slope else 1.0, inter[0] if inter else 0.0)
    if line[0] == 0:
        raise RecordError("bad-rescale", "the rescale slope is 0")
    return line


def modality_values(dataset: Any, stored: Array) -> Array:
    """Values after the modality transform: integers where it is integral, else float32 (``[Z, Y, X]``)."""
    if dataset.get("ModalityLUTSequence"):
        try:
            return np.asarray(apply_modality_lut(stored, dataset))
        except Exception:
            raise RecordError("bad-rescale", "the modality LUT is not valid") from None
    top = rescale_of(dataset)
    lines = [top or rescale_of(group(dataset, "PixelValueTransformationSequence", z)) for z in range(len(stored))]
    if all(line in (None, (1.0, 0.0)) for line in lines):
        return stored
    slopes, inters = (np.array([line[i] if line else (1.0, 0.0)[i] for line in lines]) for i in (0, 1))
    shape = (-1, 1, 1)
    if stored.dtype.kind in "iu" and (slopes % 1 == 0).all() and (inters % 1 == 0).all():
        values = stored.astype(np.int64) * slopes.astype(np.int64).reshape(shape)
        return narrow(values + inters.astype(np.int64).reshape(shape))
    return np.asarray(stored * slopes.reshape(shape) + inters.reshape(shape), np.float32)


def narrow(values: Array) -> Array:
    """Integers as int16 where they fit, else int32; all else as it is."""
    if values.dtype.kind == "f":
        return values
    low, high = values.min(), values.max()
    for limits in (np.iinfo(np.int16), np.iinfo(np.int32)):
        if limits.min <= low and high <= limits.max:
            return values.astype(limits.dtype)
    return values


def voi_window(dataset: Any) -> Window | None:
    """The first window of the file, or of its functional groups, with limits center -/+ width/2.

    LINEAR (PS3.3 C.11.2.1.2.1) maps center - 0.5 -/+ (width - 1)/2, which is written as such; a VOI LUT
    becomes the input range over which its output rises from 1 % to 99 %; a width below 1 gives None.
    """
    holder = dataset if dataset.get("WindowCenter") is not None else group(dataset, "FrameVOILUTSequence", 0)
    try:
        if holder is None or holder.get("WindowCenter") is None:
            return _lut_window(dataset)
        center, width = (float(np.atleast_1d(holder.get(f"Window{name}"))[0]) for name in ("Center", "Width"))
        function = str(holder.get("VOILUTFunction") or "LINEAR").upper()
    except Exception:
        return None
    exact = function == "LINEAR_EXACT"
    center, width = (center, width) if exact else (center - 0.5, width - 1)
    usable = np.isfinite([center, width]).all() and width > 0
    return Window(center=center, width=width) if usable else None


def _lut_window(dataset: Any) -> Window | None:
    items = dataset.get("VOILUTSequence")
    if not items:
        return None
    entries, first = int(items[0].LUTDescriptor[0]) or 2**16, int(items[0].LUTDescriptor[1])
    output = np.asarray(items[0].LUTData, np.float64)[:entries]
    rising = np.flatnonzero(
        (output > output.min() + 0.01 * np.ptp(output)) & (output < output.max() - 0.01 * np.ptp(output))
    )
    if output[-1] <= output[0] or rising.size == 0:
        return None
    low, high = first + int(rising[0]) - 1, first + int(rising[-1]) + 1
    return Window(center=(low + high) / 2, width=float(high - low))


def geometry(dataset: Any, frames: int) -> Place:
    """Where the voxels lie; numbers rounded to float32, which is what NIfTI can hold.

    Raises:
        RecordError: ``bad-tag`` where orientation, position or spacing is not valid.
    """
    measures = group(dataset, "PixelMeasuresSequence", 0)
    plane = decimals(dataset, "ImageOrientationPatient", 6)
    plane = plane or decimals(group(dataset, "PlaneOrientationSequence", 0), "ImageOrientationPatient", 6)
    positions = [_position(dataset, frame, frames) for frame in range(frames)]
    rows = _pixel_spacing(dataset, measures)
    if rows is None or plane is None or any(position is None for position in positions):
        spacing = None if rows is None else (_single(rows[1]), _single(rows[0]), 1.0)
        return Place(None, spacing, frames > 1)
    across, down = directions(np.array(plane))
    step = _step(np.array(positions), np.cross(across, down), _thickness(dataset, measures))
    if step is None:
        return Place(None, (_single(rows[1]), _single(rows[0]), 1.0), True)
    return placed(across, down, np.array(rows), step, np.array(positions[0]))


def _pixel_spacing(dataset: Any, measures: Any) -> list[float] | None:
    """Distance of rows and of columns in mm; 0, which some film digitisers write for want of a size, is unknown."""
    # ImagerPixelSpacing is at the detector plane: a size of pixels, not of anatomy, but the best there is.
    holders = ((dataset, "PixelSpacing"), (measures, "PixelSpacing"), (dataset, "ImagerPixelSpacing"))
    for holder, name in holders:
        rows = decimals(holder, name, 2)
        if rows is not None and min(rows) < 0:
            raise RecordError("bad-tag", f"{name} is negative")
        if rows is not None and min(rows) > 0:
            return rows
    return None


def directions(plane: Array) -> tuple[Array, Array]:
    """Row and column direction ``[3]`` of the six cosines of ImageOrientationPatient; ``bad-tag`` if not valid."""
    across, down = plane[:3], plane[3:]
    if abs(across @ down) > 0.01 or abs(np.linalg.norm(across) - 1) > 0.01 or abs(np.linalg.norm(down) - 1) > 0.01:
        raise RecordError("bad-tag", "ImageOrientationPatient is not two orthogonal unit vectors")
    return across, down


def placed(across: Array, down: Array, rows: Array, step: Array, origin: Array) -> Place:
    """Place of a volume (PS3.3 C.7.6.2.1.1).

    Args:
        across: direction of a row ``[3]``, LPS.
        down: direction of a column ``[3]``, LPS.
        rows: distance of rows and distance of columns in mm.
        step: from one slice to the next ``[3]``, LPS mm.
        origin: centre of the first voxel ``[3]``, LPS mm.
    """
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = across * rows[1], down * rows[0], step, origin
    ras = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine).astype(np.float32).astype(np.float64) + 0.0
    return Place(ras, (_single(rows[1]), _single(rows[0]), _single(float(np.linalg.norm(step)))), False)


def _single(value: float) -> float:
    return float(np.float32(value))


def _position(dataset: Any, frame: int, frames: int) -> list[float] | None:
    item = group(dataset, "PlanePositionSequence", frame)
    if item is None and frames > 1:
        return None
    return decimals(item if item is not None else dataset, "ImagePositionPatient", 3)


def _thickness(dataset: Any, measures: Any) -> float:
    for holder in (dataset, measures):
        for name in ("SpacingBetweenSlices", "SliceThickness"):
            value = decimals(holder, name, 1)
            if value is not None and value[0] > 0:
                return value[0]
    return 1.0


def _step(positions: Array, normal: Array, thickness: float) -> Array | None:
    """Vector between slices, None where the frames are not evenly spaced along the normal."""
    if len(positions) == 1:
        return normal * thickness
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    median = float(np.median(along))
    tolerance = STEP_TOLERANCE * abs(median)
    if median == 0 or np.abs(along - median).max() > tolerance:
        return None
    sheared = np.abs(steps - along[:, None] * normal).max() > tolerance
    return None if sheared else normal * median
