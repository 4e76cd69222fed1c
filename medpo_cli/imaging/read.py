"""One door for every image: what a file is comes from its first bytes, never from its name."""

import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from medpo_cli.errors import RecordError
from medpo_cli.imaging import guard
from medpo_cli.imaging.image import MAX_FILE_BYTES, Image, Kind
from medpo_cli.imaging.marks import Marks

MAGIC_BYTES = 136
"""No further does ``sniff`` look."""
KEPT_BYTES = 2**29
KEPT_FILES = 64
"""Decoded files kept for the next record: several questions usually share one image and one mask."""


@dataclass(frozen=True, eq=False)
class Source:
    """A file that was read: its image (or what it marks, with the array of that) and the sha256 (hex) of its bytes."""

    image: Image
    sha256: str
    marks: Marks | None = None


def read_image(path: Path, *, frame: int | None = None, field: str | None = None) -> Image:
    """Read one image file of any supported format.

    Args:
        path: a regular file, or a folder with the slices of one DICOM series.
        frame: keep only this index of the third axis (a picture without patient position).
        field: JSON path that errors name.

    Raises:
        RecordError: a code of the bad-input table in docs/reference; the message holds no value of the file.
    """
    image = open_source(path, field).image
    return image if frame is None else single_frame(image, frame, field)


def open_source(path: Path, field: str | None = None, *, marks: bool = False) -> Source:
    """Image and hash of a file or series folder; decoded once while it is unchanged and in the small cache.

    It is read in a process of its own (``guard``). With ``marks`` a DICOM file is a segmentation or structure set.
    """
    try:
        key = (*_key(path), marks)
        if (kept := _CACHE.get(key)) is not None:
            return kept
        source = _marked(path) if marks and is_dicom(path) else Source(*guard.read(path))
    except FileNotFoundError:
        raise RecordError("file-not-found", "file not found", field) from None
    except OSError:
        raise RecordError("unreadable", "the file cannot be opened", field) from None
    except RecordError as error:
        raise RecordError(error.reason, error.message, error.path or field) from None
    _CACHE.put(key, source)
    return source


def _marked(path: Path) -> Source:
    marks, image, sha256 = guard.read_marks(path)
    return Source(image, sha256, marks)


def _key(path: Path) -> tuple[object, ...]:
    """Changes when the file, or any file of the folder, does."""
    about = os.stat(path)
    own = (str(path), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
    if not stat.S_ISDIR(about.st_mode):
        return own
    with os.scandir(path) as entries:
        parts = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
    return (*own, *sorted(parts))


def load(path: Path) -> Source:
    """Read a file or series folder here and now, with no guard: what the process behind ``guard`` does.

    Decoders raise whatever they like on damaged input; all but RecordError is the caller's to translate.
    """
    if path.is_dir():
        from medpo_cli.imaging import series

        return Source(*series.read_series(series.files_of(path)))
    data = bytes_of(path)
    return Source(decode(data, path), hashlib.sha256(data).hexdigest())


def is_dicom(path: Path) -> bool:
    """Whether the first bytes of a regular file are those of a DICOM file."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            start = stream.read(MAGIC_BYTES) if regular else b""
        return sniff(start, path) == "dicom"
    except (OSError, RecordError):
        return False  # whoever opens it will say so


def bytes_of(path: Path) -> bytes:
    """All of a regular file.

    Raises:
        RecordError: ``file-not-found``, ``unreadable``, ``not-regular``, ``empty-file``, ``too-large``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise RecordError("file-not-found", "file not found") from None
    except OSError:
        raise RecordError("unreadable", "the file cannot be opened") from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise RecordError("not-regular", "not a regular file")
        if about.st_size == 0:
            raise RecordError("empty-file", "the file is empty")
        if about.st_size > MAX_FILE_BYTES:
            raise RecordError("too-large", f"the file is larger than {MAX_FILE_BYTES} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(about.st_size)
    finally:
        os.close(descriptor)


def decode(data: bytes, path: Path) -> Image:
    """Image of a file's bytes; ``path`` is only used by SimpleITK's formats and for the wording of errors."""
    kind = sniff(data, path)
    if kind == "nifti":
        from medpo_cli.imaging import nifti

        return nifti.decode(data)
    if kind == "dicom":
        from medpo_cli.imaging import dicom

        return dicom.decode(data)
    if kind in ("png", "jpeg", "tiff"):
        from medpo_cli.imaging import raster

        return raster.decode(data, kind)
    from medpo_cli.imaging import itk

    return itk.decode(data, path, kind)


def sniff(data: bytes, path: Path) -> Kind:
    """Format by magic bytes.

    Raises:
        RecordError: ``not-dicom`` or ``unsupported-format``.
    """
    for kind, magics in _MAGIC.items():
        if data.startswith(magics):
            return kind
    if data[128:132] == b"DICM":
        return "dicom"
    if data.startswith(_TIFF):  # A DICOM file may start as one, too (PS3.10 section 7.1).
        return "tiff"
    if int.from_bytes(data[:4], "little") in (348, 540) or int.from_bytes(data[:4], "big") in (348, 540):
        return "nifti"
    if data[:2] in (b"\x08\x00", b"\x02\x00") and data[2:4] < b"\x80\x00":
        return "dicom"  # A data set without preamble starts in group 2 or 8.
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        raise RecordError("not-dicom", "the file does not hold DICOM data")
    if path.suffix.lower() == ".nii":
        raise RecordError("bad-header", "not a NIfTI-1 header")
    raise RecordError("unsupported-format", "not a DICOM, NIfTI, PNG, JPEG, TIFF, NRRD or MHA file")


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC: dict[Kind, tuple[bytes, ...]] = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "nifti": (b"\x1f\x8b",),
    "nrrd": (b"NRRD000",),
    "mha": (b"ObjectType", b"NDims", b"Comment = "),
}


def single_frame(image: Image, frame: int, field: str | None = None) -> Image:
    """``image`` reduced to index ``frame`` of its third axis; the affine is that of the slice.

    Raises:
        RecordError: ``frame-out-of-range``.
    """
    import dataclasses

    if not 0 <= frame < image.shape[2]:
        raise RecordError("frame-out-of-range", f"frame {frame} of {image.shape[2]}", field)
    affine = None if image.affine is None else image.affine.copy()
    if affine is not None:
        affine[:3, 3] += affine[:3, 2] * frame
    padding = None if image.padding is None else image.padding[:, :, frame : frame + 1]
    array = image.array[:, :, frame : frame + 1]
    return dataclasses.replace(image, array=array, affine=affine, padding=padding, grid=None)


class _Recent:
    """The files used last, bounded by number and by bytes."""

    def __init__(self) -> None:
        self.sources: OrderedDict[tuple[object, ...], Source] = OrderedDict()
        self.bytes = 0

    def get(self, key: tuple[object, ...]) -> Source | None:
        source = self.sources.get(key)
        if source is not None:
            self.sources.move_to_end(key)
        return source

    def put(self, key: tuple[object, ...], source: Source) -> None:
        self.sources[key] = source
        self.bytes += source.image.array.nbytes
        while self.sources and (self.bytes > KEPT_BYTES or len(self.sources) > KEPT_FILES):
            _, dropped = self.sources.popitem(last=False)
            self.bytes -= dropped.image.array.nbytes


_CACHE = _Recent()
