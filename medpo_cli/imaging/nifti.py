"""NIfTI-1 single files, read strictly and written exactly.

The guard reads the header with ``struct`` before any library does: what general readers accept
silently (half files, flipped bytes, wild offsets) is an error here. Offsets are those of nifti1.h.
"""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Affine, Array, Grid, Image, check_samples, file_order, frozen

HEADER = 348
DATA_START = 352
MAX_EXTENSION = 2**20
TYPES: dict[int, str] = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
RGB24 = 128
KNOWN_BUT_UNSUPPORTED = {1, 32, 1536, 1792, 2048, 2304}
"""Bits, complex numbers, 128-bit floats and RGBA."""
MARK = "medpo"
INVERTED = "MONOCHROME1"
FRAMES = "frames"


@dataclass(frozen=True)
class Layout:
    """What the header declares about the data: byte order, 3-D shape, sample type, channels, place."""

    order: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    channels: int
    offset: int
    slope: float
    inter: float
    grid: Grid
    marks: frozenset[str]

    @property
    def samples(self) -> int:
        """Number of samples, channels counted."""
        return int(np.prod(self.shape, dtype=object)) * self.channels

    @property
    def end(self) -> int:
        """Bytes a sound file has."""
        return self.offset + self.samples * self.dtype.itemsize


def decode(data: bytes) -> Image:
    """Image of a .nii or .nii.gz file's bytes.

    Raises:
        RecordError: ``bad-header``, ``unsupported-shape``, ``unsupported-format``, ``detached-header``,
            ``too-large``, ``truncated``, ``gz-corrupt``, ``shape-mismatch``, ``non-finite``, ``no-orientation``.
    """
    zipped = data[:2] == b"\x1f\x8b"
    layout = guard(_inflate_start(data) if zipped else data[:HEADER])
    raw = _inflate(data, layout.end) if zipped else data
    if len(raw) < layout.end:
        raise RecordError("truncated", "the file ends before its voxels do")
    if len(raw) > layout.end:
        raise RecordError("shape-mismatch", "the file holds more voxels than its header declares")
    return _image(raw, layout)


def guard(head: bytes) -> Layout:
    """Check the 348 header bytes and say where the voxels are; see ``decode`` for the errors."""
    if len(head) < HEADER:
        raise RecordError("truncated", "the file is shorter than a NIfTI header")
    order = _byte_order(head)
    shape = _shape(struct.unpack_from(order + "8h", head, 40))
    code, bits = struct.unpack_from(order + "2h", head, 70)
    if code in KNOWN_BUT_UNSUPPORTED:
        raise RecordError("unsupported-shape", "complex, 128-bit, RGBA and bit voxels are not supported")
    if code not in TYPES or bits != np.dtype(TYPES[code]).itemsize * 8 * (3 if code == RGB24 else 1):
        raise RecordError("bad-header", "unknown data type")
    (offset,) = struct.unpack_from(order + "f", head, 108)
    if not DATA_START <= offset <= DATA_START + MAX_EXTENSION or offset != int(offset):
        raise RecordError("bad-header", "vox_offset is out of range")
    slope, inter = struct.unpack_from(order + "2f", head, 112)
    if np.isinf(slope) or (slope != 0 and not np.isnan(slope) and not np.isfinite(inter)):
        raise RecordError("bad-header", "the scale is not finite")
    scaled = slope != 0 and not np.isnan(slope)  # The standard: slope 0 means that there is no scale.
    marks = head[148:228].split(b"\0")[0].decode("ascii", "replace").split(":")
    layout = Layout(
        order=order, shape=shape, dtype=np.dtype(order + TYPES[code]), channels=3 if code == RGB24 else 1,
        offset=int(offset), slope=slope if scaled else 1.0, inter=inter if scaled else 0.0, grid=_grid(head, order),
        marks=frozenset(marks[1:]) if marks[0] == MARK else frozenset(),
    )  # fmt: skip
    check_samples(layout.samples)
    return layout


def _byte_order(head: bytes) -> str:
    sizes = {order: struct.unpack_from(order + "i", head, 0)[0] for order in "<>"}
    order = next((order for order, size in sizes.items() if size == HEADER), None)
    if order is None:
        if 540 in sizes.values():
            raise RecordError("unsupported-format", "NIfTI-2 is not supported; convert to NIfTI-1")
        raise RecordError("bad-header", "not a NIfTI-1 header")
    if head[344:348] == b"ni1\0":
        raise RecordError("detached-header", "header and voxels must be in one file")
    if head[344:348] != b"n+1\0":
        raise RecordError("bad-header", "the NIfTI magic is missing")
    return order


def _shape(dim: tuple[int, ...]) -> tuple[int, int, int]:
    rank, sizes = dim[0], dim[1:]
    if not 1 <= rank <= 7 or any(size < 1 for size in sizes[:rank]):
        raise RecordError("bad-header", "the header's dimensions are not positive")
    if any(size != 1 for size in sizes[3:rank]):
        raise RecordError("unsupported-shape", "more than three dimensions")
    x, y, z = (sizes[axis] if axis < rank else 1 for axis in range(3))
    return x, y, z


def _grid(head: bytes, order: str) -> Grid:
    pixdim = struct.unpack_from(order + "4f", head, 76)
    rank = min(struct.unpack_from(order + "h", head, 40)[0], 3)
    if not all(np.isfinite(size) and size > 0 for size in pixdim[1 : rank + 1]):
        raise RecordError("bad-header", "a voxel size is not a positive number")
    qform_code, sform_code = struct.unpack_from(order + "2h", head, 252)
    return Grid(
        qform_code=qform_code, sform_code=sform_code, quaternion=struct.unpack_from(order + "6f", head, 256),
        rows=struct.unpack_from(order + "12f", head, 280), pixdim=pixdim, units=head[123],
    )  # fmt: skip


def _inflate_start(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(data[: 2**16], HEADER)
    except zlib.error:
        raise RecordError("gz-corrupt", "the gzip stream is damaged") from None


def _inflate(data: bytes, expected: int) -> bytes:
    """All members of a gzip file, each with its checksum, never more than ``expected`` bytes and one."""
    parts: list[bytes] = []
    size = 0
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(data, expected + 1 - size)
        except zlib.error:
            raise RecordError("gz-corrupt", "the gzip stream is damaged") from None
        size += len(part)
        if size > expected:
            raise RecordError("too-large", "the file unpacks to more than its header declares")
        parts.append(part)
        if not member.eof:
            raise RecordError("truncated", "the gzip stream is cut off")
        data = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _image(raw: bytes, layout: Layout) -> Image:
    shape = (*layout.shape, layout.channels) if layout.channels == 3 else layout.shape
    turned = (shape[2], shape[1], shape[0], *shape[3:])
    voxels = np.frombuffer(raw, layout.dtype, layout.samples, layout.offset).reshape(turned)
    array = voxels.transpose(2, 1, 0, *range(3, voxels.ndim))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RecordError("non-finite", "the image holds NaN or infinite values")
    affine = affine_of(layout.grid)
    if affine is None and layout.shape[2] > 1 and FRAMES not in layout.marks:
        raise RecordError("no-orientation", "a volume whose header gives no orientation (qform and sform codes are 0)")
    sizes = layout.grid.pixdim
    return Image(
        array=frozen(array.astype(array.dtype.newbyteorder("="), copy=False)), kind="nifti", affine=affine,
        spacing=None if affine is None and layout.grid.units & 7 == 0 else (sizes[1], sizes[2], sizes[3] or 1.0),
        slope=layout.slope, inter=layout.inter, inverted=INVERTED in layout.marks, frames=FRAMES in layout.marks,
        grid=layout.grid,
    )  # fmt: skip


def affine_of(grid: Grid) -> Affine | None:
    """4x4 voxel to RAS+ mm: the sform where its code is set, else the qform, else None.

    Raises:
        RecordError: ``bad-header`` where it is singular or not finite.
    """
    if grid.sform_code == 0 and grid.qform_code == 0:
        return None
    header = nibabel.Nifti1Header()
    _put_grid(header, grid)
    try:
        affine = np.asarray(header.get_sform() if grid.sform_code != 0 else header.get_qform(), np.float64)
    except (ValueError, HeaderDataError):
        raise RecordError("bad-header", "the orientation quaternion is not valid") from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise RecordError("bad-header", "the affine matrix is singular or not finite")
    return affine


def grid_of(affine: Affine | None, spacing: tuple[float, float, float] | None) -> Grid:
    """Header geometry for an image that did not come from NIfTI; without an affine both codes are 0."""
    if affine is None:
        sizes = spacing or (1.0, 1.0, 1.0)
        return Grid(0, 0, (0.0,) * 6, (0.0,) * 12, (1.0, *sizes), 2 if spacing else 0)
    header = nibabel.Nifti1Header()
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1, strip_shears=True)
    quaternion = tuple(float(header[name]) for name in _QUATERNION)
    rows = tuple(float(value) for name in _ROWS for value in header[name])
    return Grid(1, 1, quaternion, rows, tuple(float(value) for value in header["pixdim"][:4]), 2)


_QUATERNION = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_ROWS = ("srow_x", "srow_y", "srow_z")


def _put_grid(header: Any, grid: Grid) -> None:
    header["qform_code"], header["sform_code"] = grid.qform_code, grid.sform_code
    for name, value in zip(_QUATERNION, grid.quaternion, strict=True):
        header[name] = value
    for number, name in enumerate(_ROWS):
        header[name] = grid.rows[number * 4 : number * 4 + 4]
    header["pixdim"][:4] = grid.pixdim
    header["xyzt_units"] = grid.units


def encode(image: Image, array: Array, *, level: int = 1) -> bytes:
    """Bytes of a .nii.gz with ``array`` on the grid of ``image``.

    The header is fresh: only type, shape, geometry, units, scale and the two marks that the view
    needs travel, so no free text of the source does. Equal input gives equal bytes.

    Args:
        image: source of the geometry, scale and polarity.
        array: same shape and dtype as ``image.array``.
        level: gzip level.
    """
    if array.shape != image.array.shape or array.dtype != image.array.dtype:
        raise ValueError("array and image differ in shape or type")
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]) if image.colour else array.dtype)
    header.set_data_shape(image.shape)
    _put_grid(header, image.grid or grid_of(image.affine, image.spacing))
    header["scl_slope"], header["scl_inter"] = image.slope, image.inter
    header["vox_offset"], header["magic"] = DATA_START, b"n+1"
    marks = [INVERTED] * image.inverted + [FRAMES] * image.frames
    header["descrip"] = ":".join([MARK, *marks]).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=buffer, mtime=0) as stream:
        stream.write(header.binaryblock + b"\0" * 4)
        stream.write(file_order(array).data)
    return buffer.getvalue()
