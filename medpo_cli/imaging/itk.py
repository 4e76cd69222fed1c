"""NRRD and MetaImage through SimpleITK, after a look at the text header.

A header may name any other file as the place of its voxels, so only attached data is read.
"""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Array, Image, Kind, check_samples, frozen

MAX_HEADER = 2**16
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""LPS (ITK, DICOM) to RAS (NIfTI)."""


def decode(data: bytes, path: Path, kind: Kind) -> Image:
    """Image of a .nrrd or .mha file.

    Args:
        data: the file's bytes, for the checks.
        path: where SimpleITK reads it.
        kind: ``nrrd`` or ``mha``.

    Raises:
        RecordError: ``detached-header``, ``bad-header``, ``too-large``, ``decode``, ``unsupported-shape``,
            ``non-finite``.
    """
    guard_nrrd(data) if kind == "nrrd" else guard_mha(data)
    import SimpleITK  # 0.3 s of start-up that only these two formats need

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if kind == "nrrd" else "MetaImageIO")
    reader.SetFileName(str(path))
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # Its warnings name the path.
    try:
        picture = reader.Execute()
    except RuntimeError:
        raise RecordError("decode", "SimpleITK cannot read the file") from None
    array = _array(
        SimpleITK.GetArrayFromImage(picture), picture.GetDimension(), picture.GetNumberOfComponentsPerPixel()
    )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RecordError("non-finite", "the image holds NaN or infinite values")
    if picture.GetDimension() == 2:
        return Image(array=frozen(array), kind=kind, spacing=(*_single(picture.GetSpacing()), 1.0))
    return Image(array=frozen(array), kind=kind, affine=_affine(picture), spacing=_single(picture.GetSpacing()))


def _array(array: Array, rank: int, channels: int) -> Array:
    if rank not in (2, 3) or channels not in (1, 3) or (channels == 3 and array.dtype != np.uint8):
        raise RecordError("unsupported-shape", "not a grey or 8-bit RGB picture or volume")
    stack = array if rank == 3 else array[None]
    return stack.transpose(2, 1, 0, *range(3, stack.ndim))


def _single(values: Any) -> Any:
    """Rounded to float32: what NIfTI can hold, so that writing and reading gives the same."""
    return tuple(float(np.float32(value)) for value in values)


def _affine(picture: Any) -> Any:
    direction = np.array(picture.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(picture.GetSpacing())
    affine[:3, 3] = picture.GetOrigin()
    return (FLIP @ affine).astype(np.float32).astype(np.float64)


def guard_nrrd(data: bytes) -> None:
    """Check the text header of a NRRD file (attached data, size); see ``decode`` for the errors."""
    head, blank, _ = data[:MAX_HEADER].partition(b"\n\n")
    if not blank:
        head, blank, _ = data[:MAX_HEADER].partition(b"\r\n\r\n")
    if b"data file:" in head.lower() or b"datafile:" in head.lower():
        raise RecordError("detached-header", "header and voxels must be in one file")
    fields = dict(_lines(head, b":"))
    if not blank or b"sizes" not in fields:
        raise RecordError("bad-header", "the NRRD header is incomplete")
    check_samples(_product(fields[b"sizes"]))


def guard_mha(data: bytes) -> None:
    """Check the text header of a MetaImage file, and the checksum of compressed voxels."""
    head, local, body = data.partition(b"ElementDataFile = LOCAL")
    # MetaIO stops at the first such line in whatever spelling; a second one would only hide it from this check.
    elsewhere = b"elementdatafile" in head.lower() or not body.startswith((b"\n", b"\r\n"))
    if not local or elsewhere or len(head) > MAX_HEADER:
        raise RecordError("detached-header", "header and voxels must be in one file (ElementDataFile = LOCAL)")
    fields = dict(_lines(head, b"="))
    if b"dimsize" not in fields:
        raise RecordError("bad-header", "the MetaImage header is incomplete")
    samples = _product(fields[b"dimsize"]) * _product(fields.get(b"elementnumberofchannels", b"1"))
    check_samples(samples)
    if fields.get(b"compresseddata", b"").lower() == b"true":
        stream = zlib.decompressobj()
        try:
            stream.decompress(body.lstrip(b"\r").removeprefix(b"\n"), samples * 8 + 1)
        except zlib.error:
            raise RecordError("decode", "the compressed voxels are damaged") from None
        if not stream.eof:
            raise RecordError("decode", "the compressed voxels are cut off or too many")


def _lines(head: bytes, mark: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.partition(mark) for line in head.splitlines() if mark in line)
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def _product(sizes: bytes) -> int:
    try:
        numbers = [int(size) for size in sizes.split()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise RecordError("bad-header", "the header's sizes are not positive numbers")
    return math.prod(numbers)
