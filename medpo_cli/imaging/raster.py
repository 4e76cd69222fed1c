"""PNG, JPEG and single TIFF pictures through Pillow, with the formats named and sizes checked before pixels.

16-bit greys never pass through Pillow's mode conversion, which saturates them.
"""

import io
import warnings

import numpy as np
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Array, Image, Kind, frozen

MAX_PIXELS = 89_478_485
"""Pillow's own limit for a picture (a quarter of a GiB as RGB)."""
ORIENTATION = 0x0112
"""EXIF tag: how the camera was held."""
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF 6.0 tags."""
BLACK_IS_ZERO = 1
END = b"IEND\xaeB`\x82"
"""Last chunk of a PNG with its checksum; Pillow reads on without it."""


def decode(data: bytes, kind: Kind) -> Image:
    """Image of a PNG, JPEG or TIFF file's bytes; transparency is dropped, palette and CMYK become RGB.

    Raises:
        RecordError: ``too-large``, ``truncated``, ``exif-orientation``, ``unsupported-format``, ``decode``.
    """
    if kind == "png" and END not in data:
        raise RecordError("truncated", "the picture ends before its last chunk")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        try:
            with Pillow.open(io.BytesIO(data), formats=(kind.upper(),)) as picture:
                return _image(picture, kind)
        except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError):
            raise RecordError("too-large", f"the picture has more than {MAX_PIXELS} pixels") from None


def _image(picture: Pillow.Image, kind: Kind) -> Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise RecordError("too-large", f"the picture has more than {MAX_PIXELS} pixels")
    if getattr(picture, "n_frames", 1) > 1:
        raise RecordError("unsupported-format", "more than one picture in the file")
    # Rotating here would move the picture under its mask, so a turned picture is refused.
    if picture.getexif().get(ORIENTATION, 1) not in (0, 1):
        raise RecordError("exif-orientation", "the EXIF orientation is not upright; save the picture rotated")
    if kind == "tiff":
        _check_tiff(picture)
    pixels = _pixels(picture)
    array = pixels.transpose(1, 0, *range(2, pixels.ndim))[:, :, None]
    return Image(array=frozen(array), kind=kind)


def _check_tiff(picture: Pillow.Image) -> None:
    """Refuse what would come back as other values than stored: over 16 bits, signed, 16-bit colour or white as 0."""
    tags = dict(picture.tag_v2)  # type: ignore[attr-defined]
    bits, sign = max(tags.get(BITS, (1,))), max(tags.get(SAMPLE_FORMAT, (1,)))
    if bits > 16 or sign != 1 or (bits == 16 and tags.get(PHOTOMETRIC) != BLACK_IS_ZERO):
        raise RecordError("unsupported-format", "a TIFF that is neither grey of 8 or 16 bits nor RGB of 8")


def _pixels(picture: Pillow.Image) -> Array:
    """``[H, W]`` uint8 or uint16, or ``[H, W, 3]`` uint8."""
    if picture.mode.startswith("I"):
        return np.array(picture).astype(np.uint16)
    if picture.mode in ("1", "L", "LA"):
        return np.array(picture.convert("L"))
    if picture.mode in ("P", "RGB", "RGBA", "CMYK"):
        return np.array(picture.convert("RGB"))
    raise RecordError("unsupported-format", "a pixel layout that is not grey, palette, RGB or CMYK")
