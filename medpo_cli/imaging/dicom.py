"""One DICOM file to one image: header first, limits second, pixels third (PS3.3 C.7.6.3, PS3.5 section 8).

Values are decoded by pydicom; every check that it leaves to the caller is made here. No tag value
ever appears in an error.
"""

import contextlib
import io
import logging
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from medpo_cli.errors import RecordError
from medpo_cli.imaging import codecs, dicom_values
from medpo_cli.imaging.image import Array, Image, Mask, check_samples, frozen

NATIVE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
SYNTAXES = {
    *NATIVE, uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL, uid.HTJ2K,
}  # fmt: skip
"""Deflated data sets (bombs) and video are refused before the data set is parsed."""
GREY = {"MONOCHROME1", "MONOCHROME2"}
COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
PALETTE = "PALETTE COLOR"
BITS = {1, 8, 16, 32}

codecs.register()


def decode(data: bytes) -> Image:
    """Image of a DICOM file's bytes.

    Grey values leave the modality transform (LUT, rescale; HU for CT) as integers where the transform
    is integral, else float32; MONOCHROME1 is only marked (``Image.inverted``); YBR and palettes become RGB.

    Raises:
        RecordError: ``unsupported-syntax``, ``dicom-parse``, ``not-image``, ``no-pixels``, ``bad-tag``,
            ``too-large``, ``truncated``, ``shape-mismatch``, ``bad-rescale``, ``burned-in``, ``decode``.
    """
    with quiet():
        check_syntax(transfer_syntax(data))
        dataset = parse(data)
        frames = check_header(dataset)
        return _image(dataset, stored(dataset, frames))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom, whose warnings and log lines quote values."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def transfer_syntax(data: bytes) -> str | None:
    """TransferSyntaxUID of the file meta group (always explicit little endian), None where absent."""
    position = 132 if data[128:132] == b"DICM" else 0
    while data[position : position + 2] == b"\x02\x00" and position + 8 <= len(data):
        long_form = data[position + 4 : position + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        start = position + (12 if long_form else 8)
        if start > len(data):
            return None
        (length,) = struct.unpack_from("<I" if long_form else "<H", data, position + (8 if long_form else 6))
        if data[position + 2 : position + 4] == b"\x10\x00":
            return data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        position = start + length
    return None


def check_syntax(syntax: str | None) -> None:
    """Refuse transfer syntaxes that are not on the list."""
    if syntax is not None and syntax not in SYNTAXES:
        raise RecordError("unsupported-syntax", "the transfer syntax is not supported")


def parse(data: bytes) -> Any:
    """Data set of a file's bytes with a transfer syntax, whether the file names one or not; else ``dicom-parse``."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
        return dataset
    except (Exception, RecursionError):
        raise RecordError("dicom-parse", "the DICOM data set cannot be parsed") from None


def number(dataset: Any, name: str, default: int | None = None) -> int:
    """Integer value of a tag; absent gives ``default``, anything else than an integer is ``bad-tag``."""
    try:
        value = dataset.get(name)
        if value is None and default is not None:
            return default
        return int(value)
    except Exception:
        raise RecordError("bad-tag", f"{name} is missing or not a number") from None


def text(dataset: Any, name: str) -> str:
    """String value of a tag, empty where absent."""
    try:
        return str(dataset.get(name) or "").strip()
    except Exception:
        raise RecordError("bad-tag", f"{name} is not readable") from None


def check_header(dataset: Any) -> int:
    """Check the image tags and sizes; returns the number of frames."""
    if "Rows" not in dataset or "Columns" not in dataset:
        raise RecordError("not-image", "the DICOM object is not an image")
    if "PixelData" not in dataset:
        raise RecordError("no-pixels", "the DICOM image has no integer pixel data")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise RecordError("burned-in", "the image is marked as having burned-in annotation")
    rows, columns, frames = number(dataset, "Rows"), number(dataset, "Columns"), number(dataset, "NumberOfFrames", 1)
    samples, bits = number(dataset, "SamplesPerPixel", 1), number(dataset, "BitsAllocated")
    if min(rows, columns, frames) < 1:
        raise RecordError("bad-tag", "Rows, Columns or NumberOfFrames is not positive")
    if bits not in BITS or not 1 <= number(dataset, "BitsStored", bits) <= bits:
        raise RecordError("bad-tag", "BitsAllocated or BitsStored is out of range")
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric not in GREY | COLOUR | {PALETTE} or samples != (3 if photometric in COLOUR else 1):
        raise RecordError("bad-tag", "PhotometricInterpretation is unknown or disagrees with SamplesPerPixel")
    check_samples(rows * columns * frames * samples)
    if dataset.file_meta.TransferSyntaxUID in NATIVE:
        _check_length(dataset, rows * columns * frames * samples * bits, photometric)
    return frames


def _check_length(dataset: Any, bits: int, photometric: str) -> None:
    """The native pixel data must be as long as declared (even length, one byte of padding)."""
    expected = (bits + 7) // 8
    if photometric == "YBR_FULL_422":
        expected = expected // 3 * 2
    length = len(dataset.PixelData)
    if length < expected:
        raise RecordError("truncated", "the pixel data ends early")
    if length > expected + expected % 2:
        raise RecordError("shape-mismatch", "there is more pixel data than the header declares")


def stored(dataset: Any, frames: int) -> Array:
    """Stored values ``[frames, rows, columns(, 3)]`` in native byte order."""
    if not get_decoder(dataset.file_meta.TransferSyntaxUID).is_available:
        raise RecordError(
            "unsupported-syntax",
            "no decoder for this compression: pip install 'medpo[codecs]', or save it raw",
        )
    try:
        array = pixel_array(dataset)
    except MemoryError:
        raise RecordError("too-large", "the decoded pixels do not fit into memory") from None
    except Exception:
        raise RecordError("decode", "the pixel data cannot be decoded") from None
    shape: tuple[int, ...] = (frames, number(dataset, "Rows"), number(dataset, "Columns"))
    shape += (3,) if number(dataset, "SamplesPerPixel", 1) == 3 else ()
    if array.size != np.prod(shape):
        raise RecordError("shape-mismatch", "the decoded pixels have another shape than declared")
    return array.reshape(shape).astype(array.dtype.newbyteorder("="), copy=False)


def _image(dataset: Any, stored: Array) -> Image:
    photometric = text(dataset, "PhotometricInterpretation")
    grid = dicom_values.geometry(dataset, stored.shape[0])
    common: dict[str, Any] = {
        "kind": "dicom", "affine": grid.affine, "spacing": grid.spacing, "frames": grid.frames,
        "modality": text(dataset, "Modality")[:2].upper() or None,
        "frame_of_reference": text(dataset, "FrameOfReferenceUID") or None,
    }  # fmt: skip
    if photometric in COLOUR or photometric == PALETTE:
        return Image(array=frozen(turned(_colour(dataset, stored, photometric))), **common)
    values = dicom_values.modality_values(dataset, stored)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise RecordError("non-finite", "the image holds NaN or infinite values")
    return Image(
        array=frozen(turned(values)), inverted=photometric == "MONOCHROME1", window=dicom_values.voi_window(dataset),
        padding=_padding(dataset, stored), **common,
    )  # fmt: skip


def _colour(dataset: Any, stored: Array, photometric: str) -> Array:
    try:
        rgb = apply_color_lut(stored, dataset) if photometric == PALETTE else stored
    except Exception:
        raise RecordError("bad-tag", "the palette is incomplete") from None
    if rgb.dtype == np.uint8:
        return rgb[..., :3]
    bits = 16 if photometric == PALETTE else number(dataset, "BitsStored")
    return (rgb[..., :3] >> max(bits - 8, 0)).astype(np.uint8)


def turned(array: Array) -> Array:
    """``[Z, Y, X(, 3)]`` to ``[X, Y, Z(, 3)]``."""
    return array.transpose(2, 1, 0, *range(3, array.ndim))


def _padding(dataset: Any, stored: Array) -> Mask | None:
    """Voxels in the pixel padding range, from stored values (PS3.3 C.7.5.1.1.2)."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    first = number(dataset, "PixelPaddingValue")
    last = number(dataset, "PixelPaddingRangeLimit", first)
    low, high = min(first, last), max(first, last)
    mask: Mask = frozen(turned((stored >= low) & (stored <= high)))
    return mask if mask.any() else None
