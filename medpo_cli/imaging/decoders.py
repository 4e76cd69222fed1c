"""Which compressed DICOM files this installation can decode."""

from collections.abc import Iterator

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medpo_cli.imaging import codecs
from medpo_cli.schema.diagnosis import Diagnosis, note, ok

AREA = "codecs"
SYNTAXES: dict[UID, str] = {
    RLELossless: "RLE",
    JPEGBaseline8Bit: "JPEG",
    JPEGExtended12Bit: "JPEG 12 bit",
    JPEGLosslessSV1: "JPEG lossless",
    JPEGLSLossless: "JPEG-LS",
    JPEGLSNearLossless: "JPEG-LS near-lossless",
    JPEG2000Lossless: "JPEG 2000 lossless",
    JPEG2000: "JPEG 2000",
    HTJ2KLossless: "HTJ2K",
}
"""Transfer syntaxes of DICOM PS3.5 section A.4 that archives use, by their short names."""


def look() -> Iterator[Diagnosis]:
    """What can be decoded and what cannot."""
    codecs.register()
    able = [name for uid, name in SYNTAXES.items() if get_decoder(uid).is_available]
    lacking = [name for name in SYNTAXES.values() if name not in able]
    if able:
        yield ok(AREA, "compressed DICOM", f"decodes {', '.join(able)}")
    if lacking:
        cure = "pip install 'medpo[codecs]', or save such files uncompressed (dcmdjpeg, gdcmconv --raw)"
        yield note(AREA, "no decoder", f"{', '.join(lacking)}: such files are rejected (unsupported-syntax)", cure)
