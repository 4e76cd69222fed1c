"""imagecodecs as decoder of the compressed transfer syntaxes that pydicom and Pillow alone cannot read.

A plugin for ``pydicom.pixels.decoders`` (extra ``codecs``). Only syntaxes are registered whose codecs change no
colours: JPEG lossless and JPEG-LS hand out what was put in, HTJ2K undoes its own reversible transform, and 12-bit
JPEG is grey here.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from medpo_cli.imaging.image import Array

LABEL = "medpo-imagecodecs"
CODECS = {
    uid.JPEGExtended12Bit: "jpeg_decode",
    uid.JPEGLossless: "jpeg_decode",
    uid.JPEGLosslessSV1: "jpeg_decode",
    uid.JPEGLSLossless: "jpegls_decode",
    uid.JPEGLSNearLossless: "jpegls_decode",
    uid.HTJ2KLossless: "jpeg2k_decode",
    uid.HTJ2KLosslessRPCL: "jpeg2k_decode",
    uid.HTJ2K: "jpeg2k_decode",
}
"""Transfer syntax (PS3.5 section A.4) to the function of imagecodecs."""


def is_available(syntax: str) -> bool:
    """Whether a transfer syntax can be decoded: pydicom asks before it takes the plugin."""
    return syntax in CODECS and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: Any) -> bytes:
    """One frame, as pydicom wants it: little endian, pixel by pixel.

    Args:
        source: the compressed frame.
        runner: pydicom's ``DecodeRunner``; told the width of the samples and, after a colour transform, RGB.

    Raises:
        ValueError: colour in a syntax whose codec would guess its colour space; another size than declared.
    """
    import imagecodecs

    function: Callable[[bytes], Array] = getattr(imagecodecs, CODECS[runner.transfer_syntax])
    frame = function(source)
    if frame.ndim == 3 and runner.transfer_syntax == uid.JPEGExtended12Bit:
        raise ValueError("colour in 12-bit JPEG")
    if frame.shape[:2] != (runner.rows, runner.columns):
        raise ValueError("another size than declared")
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    if frame.ndim == 3:
        runner.set_option("planar_configuration", 0)
        if CODECS[runner.transfer_syntax] == "jpeg2k_decode":
            runner.set_option("photometric_interpretation", "RGB")
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()


def register() -> None:
    """Make the decoders known to pydicom, where the extra is installed; once in a process."""
    for syntax in filter(is_available, CODECS):
        decoder = get_decoder(syntax)
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))
