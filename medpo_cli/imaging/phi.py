"""What a DICOM header says about a person and about burned-in text: read to decide, never to be written.

None of it goes further but as a keyed hash (``io.pseudonyms``) or as a reason to refuse.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydicom
from pydicom.datadict import tag_for_keyword

from medpo_cli.errors import RecordError
from medpo_cli.imaging import dicom, guard
from medpo_cli.imaging.image import MAX_FILE_BYTES
from medpo_cli.imaging.marks import SEGMENTATION
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
    """Header of a DICOM file, read in a process of its own.

    Raises:
        RecordError: as ``load_header``, and ``decode-crash``, ``decode-memory``, ``decode-timeout``.
    """
    return msgspec.msgpack.decode(guard.header(path), type=Header)


def load_header(path: Path) -> Header:
    """Header of a DICOM file, read here and now.

    Raises:
        RecordError: ``unreadable``, ``empty-file``, ``too-large``, ``not-dicom``, ``unsupported-syntax``,
            ``dicom-parse``, ``not-image``, ``bad-tag``.
    """
    with dicom.quiet():
        return _header(parsed(path, TAGS)[0])


def parsed(path: Path, tags: list[int]) -> tuple[Any, int]:
    """Those ``tags`` of a DICOM image file as pydicom's data set, and the length of the file in bytes.

    Raises:
        RecordError: as ``load_header``.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            check_start(stream.read(2**16), size, path)
            stream.seek(0)
            dataset = _parse(stream, tags)
    except OSError:
        raise RecordError("unreadable", "the file cannot be opened") from None
    if "Rows" not in dataset:
        raise RecordError("not-image", "the DICOM object is not an image")
    return dataset, size


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


def _parse(stream: Any, tags: list[int]) -> Any:
    try:
        return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags, force=True)
    except (Exception, RecursionError):
        raise RecordError("dicom-parse", "the DICOM data set cannot be parsed") from None


def _header(dataset: Any) -> Header:
    if dicom.text(dataset, "SOPClassUID") in SEGMENTATION:
        raise RecordError("not-image", "the DICOM object is a segmentation, which marks an image but is none")
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
        dataset = _parse(io.BytesIO(data), TAGS)
        try:
            element = dataset.get_item(BURNED_IN)
            start, length = element.value_tell, element.length
        except Exception:
            return data
    return data[:start] + b"NO".ljust(length)[:length] + data[start + length :] if length >= 2 else data
