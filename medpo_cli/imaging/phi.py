"""What a DICOM header says about a person and about burned-in text: read to decide, never to be written.

None of it leaves this module but as a keyed hash (``Key``) or as a reason to refuse.
"""

import hmac
import io
import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword

from medpo_cli.errors import CannotCreateError, ConfigError, RecordError
from medpo_cli.imaging import dicom
from medpo_cli.imaging.image import MAX_FILE_BYTES
from medpo_cli.imaging.read import sniff

BURNED_IN = 0x00280301
OVERLAY_BITS = [(0x6000 + 2 * plane) << 16 | 0x0102 for plane in range(16)]
NAMES = (
    "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
    "Modality", "ImageType", "ConversionType", "BurnedInAnnotation", "RecognizableVisualFeatures", "NumberOfFrames",
    "ImagePositionPatient", "Rows",
)  # fmt: skip
TAGS = [tag for name in NAMES if (tag := tag_for_keyword(name)) is not None] + OVERLAY_BITS
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of the SOP classes of secondary capture (PS3.4 B.5)."""
UNSURE = frozenset({"US", "OT", "XC", "ES", "XA", "RF", "IVUS"})
"""Modalities whose machines write names into the pixels, often without saying so."""
SLICES = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities of which a series of single images is a volume."""
KEY_BYTES = 32
PSEUDONYM = 20
"""Hex digits of a pseudonym: 80 bits, so that a billion ids do not meet."""


@dataclass(frozen=True, repr=False)
class Header:
    """One file's header, as far as an import needs it; it has no printed form.

    Attributes:
        patient: PatientID and its issuer, empty where there is no id.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        instance: SOPInstanceUID.
        slice: one of several single images that make a volume.
        burned_in: the file says that it has burned-in annotation, or old overlays lie in its pixel bits.
        secondary: a secondary capture (screen shot, scanned film, converted picture).
        unsure: silent about burned-in annotation though its kind of machine often writes it.
        face: the file says that features of a person can be recognised.
    """

    patient: str
    study: str
    series: str
    instance: str
    slice: bool
    burned_in: bool
    secondary: bool
    unsure: bool
    face: bool


def read_header(path: Path) -> Header:
    """Header of a DICOM file.

    Raises:
        RecordError: ``unreadable``, ``empty-file``, ``too-large``, ``not-dicom``, ``unsupported-syntax``,
            ``dicom-parse``, ``not-image``, ``bad-tag``.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(2**16)
            check_start(start, size, path)
            stream.seek(0)
            with dicom.quiet():
                return _header(_parse(stream))
    except OSError:
        raise RecordError("unreadable", "the file cannot be opened") from None


def check_start(start: bytes, size: int, path: Path) -> None:
    """Refuse by the first bytes what is no DICOM file, or one that must not be parsed."""
    if size == 0:
        raise RecordError("empty-file", "the file is empty")
    if size > MAX_FILE_BYTES:
        raise RecordError("too-large", f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        kind: str = sniff(start, path)
    except RecordError:
        kind = "unknown"
    if kind != "dicom":
        raise RecordError("not-dicom", "the file does not hold DICOM data")
    dicom.check_syntax(dicom.transfer_syntax(start))


def _parse(stream: Any) -> Any:
    try:
        return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS, force=True)
    except (Exception, RecursionError):
        raise RecordError("dicom-parse", "the DICOM data set cannot be parsed") from None


def _header(dataset: Any) -> Header:
    if "Rows" not in dataset:
        raise RecordError("not-image", "the DICOM object is not an image")
    modality = dicom.text(dataset, "Modality").upper()
    patient = dicom.text(dataset, "PatientID")
    stated = dicom.text(dataset, "BurnedInAnnotation").upper()
    single = dicom.number(dataset, "NumberOfFrames", 1) == 1
    return Header(
        patient=f"{dicom.text(dataset, 'IssuerOfPatientID')}\0{patient}" if patient else "",
        study=dicom.text(dataset, "StudyInstanceUID"),
        series=dicom.text(dataset, "SeriesInstanceUID"),
        instance=dicom.text(dataset, "SOPInstanceUID"),
        slice=single and modality in SLICES and "ImagePositionPatient" in dataset,
        burned_in=stated == "YES" or _overlay_in_pixels(dataset),
        secondary=_secondary(dataset, modality),
        unsure=not stated and modality in UNSURE,
        face=dicom.text(dataset, "RecognizableVisualFeatures").upper() == "YES",
    )


def _secondary(dataset: Any, modality: str) -> bool:
    """By class, modality, or the conversion that only such images state (PS3.3 C.8.6.1)."""
    kind = dicom.text(dataset, "ImageType").upper()
    return (
        dicom.text(dataset, "SOPClassUID").startswith(SECONDARY_CAPTURE)
        or modality == "SC"
        or bool(dicom.text(dataset, "ConversionType"))
        or "SCREEN" in kind
    )


def _overlay_in_pixels(dataset: Any) -> bool:
    """Whether an overlay, which may be a name, lies in unused bits of the pixels (retired, but seen)."""
    try:
        return any(int(dataset[tag].value or 0) > 0 for tag in OVERLAY_BITS if tag in dataset)
    except Exception:
        raise RecordError("bad-tag", "OverlayBitPosition is not a number") from None


def refuse_burned_in(header: Header) -> None:
    """Refuse an image that has, or probably has, text in its pixels.

    Raises:
        RecordError: ``burned-in`` or ``secondary-capture``.
    """
    if header.burned_in:
        raise RecordError("burned-in", "the image is marked as having burned-in annotation (--allow-burned-in)")
    if header.secondary:
        raise RecordError("secondary-capture", "a secondary capture may show names in its pixels (--allow-burned-in)")


def without_mark(data: bytes) -> bytes:
    """A DICOM file's bytes with BurnedInAnnotation set to NO, for who has looked and allows it."""
    with dicom.quiet():
        dataset = _parse(io.BytesIO(data))
        try:
            element = dataset.get_item(BURNED_IN)
            start, length = element.value_tell, element.length
        except Exception:
            return data
    return data[:start] + b"NO".ljust(length)[:length] + data[start + length :] if length >= 2 else data


class Key:
    """Makes pseudonyms: HMAC-SHA256 with a secret key, which whoever lacks it cannot try names against."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, kind: str, value: str | bytes) -> str:
        """20 hex digits of a value; equal values of two kinds differ."""
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        return hmac.digest(self._key, kind.encode() + b"\0" + data, "sha256").hex()[:PSEUDONYM]


def load_key(path: Path, outside: Iterable[Path]) -> Key:
    """The key in a file, which is made on first use (mode 600).

    Args:
        path: the key file.
        outside: folders that must not hold it: whoever gets the data must not get the key.

    Raises:
        ConfigError: it lies in one of these folders, others may read it, or it is no key.
        CannotCreateError: it cannot be made.
    """
    if any(path.resolve().is_relative_to(folder.resolve()) for folder in outside):
        raise ConfigError("--key: the key must lie outside the data (neither in FOLDER nor with the images)")
    try:
        if not path.exists():
            _make_key(path)
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError("--key: not a regular file")
        if about.st_mode & 0o077:
            raise ConfigError("--key: others may read the key file; chmod 600 it")
        key = bytes.fromhex(path.read_bytes().decode("ascii").strip())
    except OSError as error:
        raise CannotCreateError(f"--key: {os.strerror(error.errno or 0)}") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"--key: a key file holds {2 * KEY_BYTES} hexadecimal digits")
    return Key(key)


def _make_key(path: Path) -> None:
    """Write a new key; of two runs at once, the first one's key holds."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
            stream.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
