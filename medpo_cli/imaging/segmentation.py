"""DICOM segmentations (PS3.3 A.51 and C.8.20): their planes, and where these lie on an image.

A file holds only the planes that are not empty, of all segments one after the other: each is placed by its position
and orientation, never by its number.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging import dicom, dicom_values
from medpo_cli.imaging.image import Affine, Array, Image, Mask
from medpo_cli.imaging.marks import EVERY, Marks, Part, tolerances


def decode(dataset: Any) -> tuple[Marks, Array]:
    """Marks and planes [columns, rows, planes] of a parsed segmentation.

    Raises:
        RecordError: ``bad-tag``; ``mask-not-binary`` for fractions other than 0 and the largest; those of pixels.
    """
    frames = dicom.check_header(dataset)
    labelmap = dicom.text(dataset, "SegmentationType").upper() == "LABELMAP"
    planes = dicom.stored(dataset, frames)
    if not labelmap:
        planes = _binary(dataset, planes)
    parts = [
        Part(EVERY if labelmap else _number(dataset, frame), affine=_affine(dataset, frame)) for frame in range(frames)
    ]
    return Marks("planes", dicom.text(dataset, "FrameOfReferenceUID"), _names(dataset), parts), dicom.turned(planes)


def _binary(dataset: Any, planes: Array) -> Array:
    """0 and 1; a fraction between would need a threshold that nobody named."""
    largest = 1
    if dicom.text(dataset, "SegmentationType").upper() == "FRACTIONAL":
        largest = dicom.number(dataset, "MaximumFractionalValue")
    marked: Mask = planes == largest
    if not (marked | (planes == 0)).all():
        raise RecordError("mask-not-binary", "the segmentation holds fractions; apply a threshold first")
    return np.asarray(marked, np.uint8)


def _names(dataset: Any) -> list[tuple[int, str]]:
    items = dataset.get("SegmentSequence")
    if not items:
        raise RecordError("bad-tag", "SegmentSequence is missing or empty")
    names = [(dicom.number(item, "SegmentNumber"), dicom.text(item, "SegmentLabel")) for item in items]
    if len(dict(names)) != len(names):
        raise RecordError("bad-tag", "two segments have one number")
    return names


def _number(dataset: Any, frame: int) -> int:
    return dicom.number(
        dicom_values.group(dataset, "SegmentIdentificationSequence", frame) or {}, "ReferencedSegmentNumber"
    )


def _affine(dataset: Any, frame: int) -> tuple[float, ...] | None:
    """Pixels (column, row, 0) of a plane to RAS+ mm; None where it has no place in the patient."""
    plane = dicom_values.group(dataset, "PlaneOrientationSequence", frame)
    cosines = dicom_values.decimals(plane, "ImageOrientationPatient", 6)
    position = dicom_values.decimals(
        dicom_values.group(dataset, "PlanePositionSequence", frame), "ImagePositionPatient", 3
    )
    spacing = dicom_values.decimals(dicom_values.group(dataset, "PixelMeasuresSequence", frame), "PixelSpacing", 2)
    if cosines is None or position is None or spacing is None or min(spacing) <= 0:
        return None
    across, down = dicom_values.directions(np.array(cosines))
    place = dicom_values.placed(across, down, np.array(spacing), np.cross(across, down), np.array(position))
    return None if place.affine is None else tuple(place.affine.ravel().tolist())


def mask(marks: Marks, planes: Array, number: int, image: Image, field: str) -> Mask:
    """Voxels [X, Y, Z] of segment ``number`` on the grid of ``image``.

    Args:
        marks: of ``decode``.
        planes: of ``decode``.
        number: of the segment.
        image: what it lies on. Of a single slice the planes that lie elsewhere are left aside.
        field: JSON path that errors name.

    Raises:
        RecordError: ``geometry-mismatch``: planes that do not coincide with the image's voxels; nothing is resampled.
    """
    found = np.zeros(image.shape, bool)
    for plane, affine in _planes(marks, planes, number):
        if image.affine is None or affine is None:
            _lay_unplaced(found, plane, field)
        else:
            _lay(found, plane, np.asarray(np.linalg.solve(image.affine, affine)), tolerances(image), field)
    return found


def _planes(marks: Marks, planes: Array, number: int) -> Iterator[tuple[Mask, Affine | None]]:
    """The planes of a segment that hold anything, with their affines."""
    for index, part in enumerate(marks.parts):
        if part.number not in (number, EVERY):
            continue
        plane = planes[:, :, index] == (number if part.number == EVERY else 1)
        if plane.any():
            yield plane, None if part.affine is None else np.array(part.affine).reshape(4, 4)


def _lay_unplaced(found: Mask, plane: Mask, field: str) -> None:
    """A plane without a place fits a picture of its size, as a mask file without geometry does."""
    if found.shape != (*plane.shape, 1):
        raise RecordError("geometry-mismatch", "mask and image do not share one grid", field)
    found[:, :, 0] |= plane


def _lay(found: Mask, plane: Mask, there: Affine, tolerance: Array, field: str) -> None:
    """Mark a plane's voxels, where ``there`` leads from its pixels (column, row, 0, 1) to voxels."""
    last = np.array(plane.shape) - 1
    corners = there @ np.array([[0, 0, 0, 1], [last[0], 0, 0, 1], [0, last[1], 0, 1], [*last, 0, 1]]).T
    if found.shape[2] == 1 and (np.abs(corners[2]) > tolerance[2]).all():
        return
    steps, origin = np.rint(there[:3, :2]), np.rint(there[:3, 3])
    exact = steps @ np.array([[0, last[0], 0, last[0]], [0, 0, last[1], last[1]]]) + origin[:, None]
    # Whole steps of one voxel: anything else would leave voxels out, or hit some twice.
    if (np.abs(corners[:3] - exact) > tolerance[:, None]).any() or (np.abs(steps).sum(axis=0) != 1).any():
        raise RecordError("geometry-mismatch", "mask and image do not share one grid", field)
    voxels = (steps @ np.array(np.nonzero(plane)) + origin[:, None]).astype(np.int64)
    if (voxels < 0).any() or (voxels >= np.array(found.shape)[:, None]).any():
        raise RecordError("geometry-mismatch", "the mask marks voxels outside the image", field)
    found[tuple(voxels)] = True
