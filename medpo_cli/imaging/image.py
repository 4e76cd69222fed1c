"""The one type every reader gives: voxels in file order, and what is known about them."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Window

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]
Kind = Literal["dicom", "nifti", "png", "jpeg", "tiff", "nrrd", "mha"]

MAX_SAMPLES = 2**28
"""Largest decoded image in samples (voxels times channels)."""
MAX_FILE_BYTES = 2**32
"""Largest file that is opened at all."""


@dataclass(frozen=True)
class Grid:
    """The geometry fields of a NIfTI-1 header, kept as stored so that a copy is exact.

    Attributes:
        qform_code: meaning of the quaternion, 0 for unknown.
        sform_code: meaning of the matrix, 0 for unknown.
        quaternion: quatern_b, _c, _d, qoffset_x, _y, _z.
        rows: srow_x, srow_y, srow_z (12 numbers).
        pixdim: qfac and the three voxel sizes.
        units: xyzt_units.
    """

    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    rows: tuple[float, ...]
    pixdim: tuple[float, ...]
    units: int


@dataclass(frozen=True, eq=False)
class Image:
    """A picture, a volume or a stack of frames.

    Attributes:
        array: ``[X, Y, Z]``, or ``[X, Y, Z, 3]`` uint8 for colour. Axis 0 is the one that runs fastest
            in the file: columns (to the right), then rows (downwards), then slices or frames. A
            picture has Z = 1, so ``picture[y, x]`` is ``array[x, y, 0]``. Native byte order, read-only.
        kind: format of the file.
        affine: 4x4 voxel index to RAS+ millimetres, or None without patient geometry.
        spacing: voxel size along the axes of ``array`` in mm, or None.
        modality: DICOM modality code where there is one.
        inverted: low values are bright (MONOCHROME1); the view inverts, the array does not.
        window: the file's own window in scaled units, limits exactly center -/+ width/2.
        padding: voxels without a measurement (DICOM pixel padding), or None.
        slope: scaled value = slope * array + inter (1 and 0 for all but scaled NIfTI).
        inter: see ``slope``.
        frames: axis 2 is a list of frames, not a direction in space.
        grid: geometry as the source NIfTI header stored it.
        frame_of_reference: UID of the patient's coordinate system that a DICOM file names; compared, never shown.
    """

    array: Array
    kind: Kind
    affine: Affine | None = None
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    inverted: bool = False
    window: Window | None = None
    padding: Mask | None = None
    slope: float = 1.0
    inter: float = 0.0
    frames: bool = False
    grid: Grid | None = None
    frame_of_reference: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z, without the colour axis."""
        return self.array.shape[0], self.array.shape[1], self.array.shape[2]

    @property
    def colour(self) -> bool:
        """Whether each voxel holds red, green and blue."""
        return self.array.ndim == 4

    @property
    def plain(self) -> bool:
        """Whether the values are 8-bit grey or colour, shown as they are."""
        return self.array.dtype == np.uint8 and self.slope == 1.0 and self.inter == 0.0

    def scaled(self, values: Array) -> npt.NDArray[np.float64]:
        """Stored ``values`` in image units (HU for CT), float64."""
        return values.astype(np.float64) * self.slope + self.inter

    def luminance(self) -> npt.NDArray[np.float64]:
        """``[X, Y, Z]`` float64 in image units; the mean of the channels for colour."""
        values = self.scaled(self.array)
        return values.mean(axis=-1) if self.colour else values


def file_order(array: Array) -> Array:
    """``[X, Y, Z(, 3)]`` as a C-contiguous, little-endian ``[Z, Y, X(, 3)]``: the order of bytes in NIfTI."""
    turned = array.transpose(2, 1, 0, *range(3, array.ndim))
    return np.ascontiguousarray(turned, dtype=array.dtype.newbyteorder("<"))


def frozen(array: Array) -> Array:
    """``array`` marked read-only: images are shared between records."""
    array.flags.writeable = False
    return array


def content_hash(image: Image) -> bytes:
    """32 bytes that name what is in an image: voxels, type, shape, geometry, scale and polarity."""
    digest = hashlib.blake2b(digest_size=32, person=b"medpo-image")
    about = (image.array.dtype.newbyteorder("<").str, image.array.shape, image.slope, image.inter, image.inverted)
    where = (None if image.affine is None else image.affine.tolist(), image.spacing, image.frames)
    digest.update(repr((about, where)).encode())
    digest.update(file_order(image.array).data)
    return digest.digest()


def check_samples(samples: int) -> None:
    """Refuse a declared size before any memory is taken for it.

    Raises:
        RecordError: ``too-large``.
    """
    if samples > MAX_SAMPLES:
        raise RecordError("too-large", f"the image declares more than {MAX_SAMPLES} samples")
