"""Which DICOM files make one volume, and in which order: judged from headers alone (PS3.3 C.7.6.2.1.1).

The order comes from ImagePositionPatient along the normal of ImageOrientationPatient, never from names or
InstanceNumber. What is not evenly spaced is refused, because an affine cannot say it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.datadict import tag_for_keyword

from medpo_cli.errors import RecordError
from medpo_cli.imaging import dicom, dicom_values, phi
from medpo_cli.imaging.image import Array

SHEAR = 0.01
"""Largest shift in mm between neighbouring slices, within their plane, that still counts as none."""
SAME_PLACE = 0.001
"""Slices closer than this in mm lie in one place."""
SAME_DIRECTION = 1e-4
"""Largest difference of direction cosines of one orientation: files keep four to six decimals."""
GAP = 1.5
"""A step longer than so many median steps is a missing slice, a shorter one that deviates is jitter."""
NAMES = (
    "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "PhotometricInterpretation", "SamplesPerPixel", "Rows",
    "Columns", "NumberOfFrames", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
)  # fmt: skip
TAGS = [tag for name in NAMES if (tag := tag_for_keyword(name)) is not None]
KEPT_ALIKE = ("FrameOfReferenceUID", "Modality", "PhotometricInterpretation", "SamplesPerPixel", "Rows", "Columns")


@dataclass(frozen=True, eq=False, repr=False)
class Slice:
    """What the header of one file says; it has no printed form.

    Attributes:
        path: the file.
        size: its length in bytes.
        series: SeriesInstanceUID.
        alike: values that the slices of one volume share exactly.
        samples: declared number of samples, all frames.
        frames: declared number of frames.
        plane: row and column direction cosines, ``[6]`` LPS, or None.
        spacing: distance of rows, distance of columns in mm, ``[2]``, or None (also where it is 0).
        position: centre of the first voxel, ``[3]`` LPS mm, or None.
    """

    path: Path
    size: int
    series: str
    alike: tuple[str, ...]
    samples: int
    frames: int
    plane: Array | None
    spacing: Array | None
    position: Array | None


def header(path: Path) -> Slice:
    """Header of one file; errors as ``phi.load_header``."""
    dataset, size = phi.parsed(path, TAGS)
    frames = dicom.number(dataset, "NumberOfFrames", 1)
    plane = dicom_values.decimals(dataset, "ImageOrientationPatient", 6)
    spacing = dicom_values.decimals(dataset, "PixelSpacing", 2)
    position = dicom_values.decimals(dataset, "ImagePositionPatient", 3)
    if spacing is not None and min(spacing) <= 0:
        spacing = None
    per_frame = dicom.number(dataset, "Rows") * dicom.number(dataset, "Columns", 0)
    return Slice(
        path, size, dicom.text(dataset, "SeriesInstanceUID"), tuple(dicom.text(dataset, name) for name in KEPT_ALIKE),
        per_frame * frames * dicom.number(dataset, "SamplesPerPixel", 1), frames,
        *(None if one is None else np.array(one) for one in (plane, spacing, position)),
    )  # fmt: skip


def check_alike(slices: list[Slice]) -> None:
    """Refuse slices that are not of one series, or not of one stack."""
    first = slices[0]
    if any(one.series != first.series for one in slices):
        raise RecordError("series-ambiguous", "the folder holds slices of several series")
    if any(one.frames != 1 for one in slices):
        raise RecordError("series-mixed", "a file of several holds several frames")
    for one in slices:
        if one.plane is None or one.spacing is None or one.position is None:
            raise RecordError("series-unplaced", "a slice has no position, orientation or spacing")
        if one.alike != first.alike:
            raise RecordError(
                "series-mixed", "the slices differ in size, modality, kind of pixels or frame of reference"
            )
        if not np.allclose(one.plane, np.array(first.plane), rtol=0, atol=SAME_DIRECTION):
            raise RecordError("series-mixed", "the slices differ in orientation")
        if not np.allclose(one.spacing, np.array(first.spacing), rtol=SAME_DIRECTION, atol=0):
            raise RecordError("series-mixed", "the slices differ in spacing")


def arrange(slices: list[Slice]) -> tuple[list[Slice], dicom_values.Place]:
    """Slices in order along their normal, and the place of the volume that they make.

    Raises:
        RecordError: ``bad-tag``, and the codes of uneven steps of ``read_series``.
    """
    plane, spacing = np.array(slices[0].plane), np.array(slices[0].spacing)
    across, down = dicom_values.directions(plane)
    normal = np.cross(across, down)
    positions = np.array([one.position for one in slices])
    order = np.argsort(positions @ normal, kind="stable")
    step = check_steps(np.diff(positions[order], axis=0), normal)
    place = dicom_values.placed(across, down, spacing, normal * step, positions[order[0]])
    return [slices[index] for index in order], place


def check_steps(steps: Array, normal: Array) -> float:
    """Mean step in mm along ``normal``, of ``steps [n, 3]`` in mm between neighbours sorted along it."""
    along = steps @ normal
    median = float(np.median(along))
    if along.min() < SAME_PLACE:
        raise RecordError("series-duplicate", "two slices lie in one place")
    if along.max() > GAP * median:
        raise RecordError("series-gap", "a slice is missing: a step is longer than the others")
    if np.abs(along - median).max() > dicom_values.STEP_TOLERANCE * median:
        raise RecordError("series-jitter", "the steps between the slices differ by more than 1 %")
    shifts = steps - along[:, None] * normal
    if np.linalg.norm(np.median(shifts, axis=0)) > SHEAR:
        raise RecordError("series-tilt", "the slices are shifted against their normal (gantry tilt)")
    if np.linalg.norm(shifts, axis=1).max() > SHEAR:
        raise RecordError("series-jitter", "a slice is shifted within its plane")
    return float(along.mean())
