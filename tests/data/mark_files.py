"""DICOM segmentations and structure sets made in memory, for series of ``imaging_files.slices``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from data.imaging_files import ct
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as Items

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
FRAME = "1.2.7"


def item(**values: Any) -> Dataset:
    """A sequence item."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def seg(
    planes: Sequence[np.ndarray],
    positions: Sequence[Sequence[float]],
    numbers: Sequence[int] | None = None,
    *,
    names: dict[int, str] | None = None,
    kind: str = "BINARY",
    cosines: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: Sequence[float] = (0.8, 0.7),
    placed: bool = True,
    **tags: Any,
) -> FileDataset:
    """A segmentation of ``planes`` [y, x] at ``positions``, each of the segment in ``numbers``."""
    numbers = numbers or [1] * len(planes)
    stack = np.stack(planes)
    binary = kind == "BINARY"
    pixels = stack.astype(np.uint8)
    per_frame = []
    for position, number in zip(positions, numbers, strict=True):
        macros: dict[str, Any] = {}
        if placed:
            macros["PlanePositionSequence"] = Items([item(ImagePositionPatient=list(position))])
        if kind != "LABELMAP":
            macros["SegmentIdentificationSequence"] = Items([item(ReferencedSegmentNumber=number)])
        per_frame.append(item(**macros))
    shared = item(
        PlaneOrientationSequence=Items([item(ImageOrientationPatient=list(cosines))]),
        PixelMeasuresSequence=Items([item(PixelSpacing=list(spacing), SliceThickness=2.5)]),
    )
    segments = names or {number: f"part {number}" for number in sorted(set(numbers))}
    about = {
        "SOPClassUID": LABELMAP if kind == "LABELMAP" else SEG, "Modality": "SEG", "SegmentationType": kind,
        "FrameOfReferenceUID": FRAME, "NumberOfFrames": len(planes),
        "BitsAllocated": 1 if binary else 8, "BitsStored": 1 if binary else 8, "HighBit": 0 if binary else 7,
        "PixelData": pack_bits(pixels.ravel()) if binary else pixels.tobytes() + b"\0" * (pixels.size % 2),
        "MaximumFractionalValue": 255 if kind == "FRACTIONAL" else None,
        "SegmentSequence": Items([item(SegmentNumber=n, SegmentLabel=name) for n, name in segments.items()]),
        "SharedFunctionalGroupsSequence": Items([shared]), "PerFrameFunctionalGroupsSequence": Items(per_frame),
    }  # fmt: skip
    return ct(pixels[0], **(about | tags))


def rtstruct(
    contours: Sequence[tuple[int, Sequence[Sequence[float]]]],
    *,
    names: dict[int, str] | None = None,
    kind: str = "CLOSED_PLANAR",
    frame: str = FRAME,
) -> FileDataset:
    """A structure set of (structure number, points in LPS mm)."""
    if names is None:
        names = {number: f"structure {number}" for number in sorted({number for number, _ in contours})}
    structures = [
        item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame) for number, name in names.items()
    ]
    drawn = []
    for number in names:
        own = [
            item(
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points),
                ContourData=[round(float(value), 6) for point in points for value in point],
            )
            for other, points in contours
            if other == number
        ]
        drawn.append(item(ReferencedROINumber=number, ContourSequence=Items(own)))
    nothing = dict.fromkeys(
        ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
         "PixelRepresentation", "PixelData")
    )  # fmt: skip
    return ct(
        **nothing, SOPClassUID=RTSTRUCT, Modality="RTSTRUCT",
        StructureSetROISequence=Items(structures), ROIContourSequence=Items(drawn),
    )  # fmt: skip
