"""What a DICOM segmentation (SEG) or structure set (RTSTRUCT) marks, before it lies on any image.

The pixels of segments and the points of contours travel as the array of an ``Image``; what belongs to which part
of it stands in ``Marks``.
"""

from typing import Literal

import msgspec
import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging.geometry import CORNER_TOLERANCE
from medpo_cli.imaging.image import Array, Image

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations and of label maps (PS3.4 B.5)."""
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of RT structure sets."""
SAME_SLICE = 0.1
"""Largest distance in mm of a mark from the one slice that it lies on."""
EVERY = 0
"""Number of a plane that holds the numbers of its segments as values."""


class Part(msgspec.Struct, array_like=True):
    """One plane of a segmentation, or one contour.

    Attributes:
        number: of the segment or structure; ``EVERY`` for a plane of a label map.
        points: of a contour.
        affine: 4 x 4 of a plane, its pixels (column, row, 0) to RAS+ mm; None where it has no place in the patient.
    """

    number: int
    points: int = 0
    affine: tuple[float, ...] | None = None


class Marks(msgspec.Struct, array_like=True):
    """A segmentation or structure set.

    Attributes:
        kind: ``planes``, an array [columns, rows, parts] of 0 and 1 (label maps: of numbers); or ``contours``, an
            array [all points of all parts, 3, 1] of RAS+ mm, float64.
        frame_of_reference: UID of the patient's coordinate system, empty where it is not said.
        names: number and name of each segment or structure. A name is free text and goes into no message.
        parts: in the order of the array.
    """

    kind: Literal["planes", "contours"]
    frame_of_reference: str
    names: list[tuple[int, str]]
    parts: list[Part]


def decode(data: bytes) -> tuple[Marks, Array]:
    """Marks of a DICOM file's bytes with their array.

    Raises:
        RecordError: ``unsupported-format`` for any other DICOM object; ``mask-empty``, ``mask-not-binary``, and
            what ``dicom.decode`` raises.
    """
    from medpo_cli.imaging import dicom, segmentation, structures

    with dicom.quiet():
        dicom.check_syntax(dicom.transfer_syntax(data))
        dataset = dicom.parse(data)
        kind = dicom.text(dataset, "SOPClassUID")
        if kind in SEGMENTATION:
            return segmentation.decode(dataset)
        if kind == STRUCTURES:
            return structures.decode(dataset)
    raise RecordError("unsupported-format", "a DICOM mask must be a segmentation (SEG) or structure set (RTSTRUCT)")


def chosen(marks: Marks, value: int | None, label: str, field: str) -> int:
    """Number of the segment or structure that a region means: by ``value``, else by its label, else the only one.

    Names are compared without case, ``_`` and blanks being one.

    Raises:
        RecordError: ``mask-label``.
    """
    numbers = [number for number, _ in marks.names]
    if value is not None:
        if value not in numbers:
            raise RecordError("mask-label", "the file has no segment or structure of the given value", f"{field}.value")
        return value
    named = [number for number, name in marks.names if _plain(name) == _plain(label)]
    if len(named) == 1:
        return named[0]
    if len(numbers) == 1:
        return numbers[0]
    raise RecordError("mask-label", "the file marks several things: name one by value, or as the region's label", field)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def check_frame(marks: Marks, frame_of_reference: str | None, field: str) -> None:
    """Refuse marks in another coordinate system than the image's, where both say theirs."""
    if marks.frame_of_reference and frame_of_reference and marks.frame_of_reference != frame_of_reference:
        raise RecordError("geometry-mismatch", "mask and image have different frames of reference", field)


def tolerances(image: Image) -> Array:
    """How far off, in voxels along each axis [3], a mark may lie and still be on its voxels.

    A single slice is as thick as its header says, which may be more than the distance to its neighbours.
    """
    found = np.full(3, CORNER_TOLERANCE)
    if image.shape[2] == 1 and image.affine is not None:
        found[2] = min(CORNER_TOLERANCE, SAME_SLICE / float(np.linalg.norm(image.affine[:3, 2])))
    return found
