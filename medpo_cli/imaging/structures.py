"""RT structure sets (PS3.3 A.19 and C.8.8.6): closed contours in millimetres, and what they enclose on an image.

Contours of one structure on one slice are joined by the even-odd rule: one within another is a hole. Points and open
lines enclose nothing and are left aside.
"""

from typing import Any

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging import dicom
from medpo_cli.imaging.image import Array, Image, Mask, check_samples
from medpo_cli.imaging.marks import Marks, Part, tolerances
from medpo_cli.imaging.polygon import inside_polygon

CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
MAX_CONTOURS = 20_000
"""More than the largest of real structure sets, and little enough for one message."""


def decode(dataset: Any) -> tuple[Marks, Array]:
    """Marks and points [points, 3, 1] of a parsed structure set.

    Raises:
        RecordError: ``bad-tag``, ``too-large``; ``mask-empty`` if it holds no closed contour.
    """
    names, frames = _names(dataset)
    parts, points = [], []
    for structure in dataset.get("ROIContourSequence") or ():
        number = dicom.number(structure, "ReferencedROINumber")
        for contour in structure.get("ContourSequence") or ():
            if dicom.text(contour, "ContourGeometricType").upper() not in CLOSED:
                continue
            points.append(_points(contour))
            parts.append(Part(number, points=len(points[-1])))
            if len(parts) > MAX_CONTOURS:
                raise RecordError("too-large", f"the structure set holds more than {MAX_CONTOURS} contours")
    if not parts:
        raise RecordError("mask-empty", "the structure set holds no closed contour")
    if len(frames) > 1:
        raise RecordError("geometry-mismatch", "the structure set has several frames of reference")
    return Marks("contours", next(iter(frames), ""), names, parts), np.concatenate(points)[:, :, None]


def _names(dataset: Any) -> tuple[list[tuple[int, str]], set[str]]:
    """Number and name of each structure, and the frames of reference that they lie in."""
    items = dataset.get("StructureSetROISequence") or ()
    names = [(dicom.number(item, "ROINumber"), dicom.text(item, "ROIName")) for item in items]
    if not names or len(dict(names)) != len(names):
        raise RecordError("bad-tag", "StructureSetROISequence is empty, or two structures have one number")
    return names, {frame for item in items if (frame := dicom.text(item, "ReferencedFrameOfReferenceUID"))}


def _points(contour: Any) -> Array:
    """[points, 3] RAS+ mm of a contour's LPS coordinates."""
    try:
        values = contour.ContourData
        # More than 64 kB cannot be written as DS in explicit VR; writers say UN, and it comes as it is stored.
        values = values.decode("ascii").split("\\") if isinstance(values, bytes) else values
        flat = np.array([float(value) for value in values])
    except Exception:
        flat = np.empty(0)
    check_samples(flat.size)
    if flat.size < 9 or flat.size % 3 or not np.isfinite(flat).all():
        raise RecordError("bad-tag", "ContourData does not hold the points of a polygon")
    return flat.reshape(-1, 3) * (-1.0, -1.0, 1.0)


def mask(marks: Marks, points: Array, number: int, image: Image, field: str) -> Mask:
    """Voxels [X, Y, Z] whose centre lies within structure ``number``.

    Args:
        marks: of ``decode``.
        points: of ``decode``.
        number: of the structure.
        image: what it lies on. Of a single slice the contours that lie elsewhere are left aside.
        field: JSON path that errors name.

    Raises:
        RecordError: ``geometry-mismatch``: the image has no place in the patient, or a contour lies between its
            slices, across them or beyond them.
    """
    if image.affine is None:
        raise RecordError("geometry-mismatch", "contours need an image with a place in the patient", field)
    found, start = np.zeros(image.shape, bool), 0
    for part in marks.parts:
        ours, start = points[start : start + part.points, :, 0], start + part.points
        if part.number == number:
            voxels = np.linalg.solve(image.affine, np.column_stack([ours, np.ones(len(ours))]).T)[:3].T
            _fill(found, voxels, tolerances(image), field)
    return found


def _fill(found: Mask, voxels: Array, tolerance: Array, field: str) -> None:
    """Turn inside out what a contour [points, 3], in voxels, encloses on its slice."""
    spread = np.ptp(voxels, axis=0)
    flat = [axis for axis in range(3) if spread[axis] <= tolerance[axis]]
    axis = 2 if 2 in flat else next(iter(flat), -1)
    if axis < 0:
        raise RecordError("geometry-mismatch", "a contour lies across the slices of the image", field)
    level = float(voxels[:, axis].mean())
    index = round(level)
    if found.shape[axis] == 1 and abs(level) > tolerance[axis]:
        return
    if abs(level - index) > tolerance[axis] or not 0 <= index < found.shape[axis]:
        raise RecordError("geometry-mismatch", "a contour lies between the slices of the image, or beyond them", field)
    first, second = (other for other in range(3) if other != axis)
    # Voxel centres are whole numbers; a picture's corner is half a pixel before the first.
    corners = [(float(x), float(y)) for x, y in voxels[:, [first, second]] + 0.5]
    plane = np.moveaxis(found, axis, 2)[:, :, index]
    plane ^= inside_polygon(corners, found.shape[second], found.shape[first]).T
