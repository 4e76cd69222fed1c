"""``medpo import dicom``: a clinical folder as cases on pseudonymous NIfTI copies.

Files are numbered as ``find . -type f | LC_ALL=C sort`` in the folder would; nothing else tells which is which.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from medpo_cli.errors import CannotCreateError, RecordError
from medpo_cli.imaging import guard, nifti, phi, read
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.window import resolve_window, spread
from medpo_cli.io.context import Context
from medpo_cli.io.files import sync_file, write_atomic
from medpo_cli.io.pseudonyms import Key
from medpo_cli.schema.records import Case, ImageRef, Task

PROMPT = "Describe the findings in this image."
INDEX = "DICOMDIR"
View = Literal["middle", "montage", "mip", "slices"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a folder is imported.

    Attributes:
        images: folder for the copies, under the root of the context.
        prompt: question of every case.
        task: task of every case.
        slices: each slice of a CT, MR, PT or NM series is a case of its own.
        view: what is shown of several slices or frames: the middle one, some beside each other, the maximum, or
            some as images of their own.
        shown: how many those are.
        allow_burned_in: take also what may show names in its pixels.
        force: replace copies that differ.
    """

    images: str = "images"
    prompt: str = PROMPT
    task: Task = "report"
    slices: bool = False
    view: View = "middle"
    shown: int = 9
    allow_burned_in: bool = False
    force: bool = False


@dataclass(repr=False)
class Unit:
    """What becomes one case: a file, or the files of a series; ``number`` is that of its first file."""

    number: int
    paths: list[Path]
    header: phi.Header


def files_of(folder: Path) -> list[Path]:
    """Regular files in and below a folder, in byte order of their paths; links are not followed."""
    every = (Path(base, name) for base, _, names in os.walk(folder) for name in names)
    regular = [path for path in every if path.is_file() and not path.is_symlink()]
    return sorted(regular, key=lambda path: os.fsencode(path.relative_to(folder)))


def run(folder: Path, key: Key, settings: Settings, context: Context) -> Iterator[Case]:
    """Cases of all DICOM images in a folder, one for a file or a series of slices.

    Args:
        folder: searched with all folders in it.
        key: makes ids (of SOP instance or series) and groups (of the patient).
        settings: see there.
        context: root, reject sink (id: the case's, else a keyed hash of the path), progress. Codes:
            ``burned-in``, ``secondary-capture``, ``duplicate-id``, ``no-uid``, those of
            ``phi.read_header`` and of reading an image or a series.
    """
    worker = _Importer(folder, key, settings, context)
    context.progress.start("import")
    for unit in worker.units():
        context.check_time()
        try:
            made = worker.case(unit)
        except RecordError as error:
            context.reject(worker.name(unit), at(unit.number, error))
        else:
            yield made
        context.progress.advance()
    worker.say()


class FileError(RecordError):
    """A RecordError with the number of its file."""

    number = 0


def at(number: int, error: RecordError) -> FileError:
    """``error`` about file ``number``."""
    known = FileError(error.reason, error.message, error.path)
    known.number = number
    return known


class _Importer:
    def __init__(self, folder: Path, key: Key, settings: Settings, context: Context) -> None:
        self._folder, self._key, self._settings, self._context = folder, key, settings, context
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()

    def units(self) -> Iterator[Unit]:
        """Files and series in the order of their first file; headers that cannot be read are rejected."""
        units: dict[str, Unit] = {}
        for number, path in enumerate(files_of(self._folder), start=1):
            self._context.check_time()
            if path.name == INDEX:
                self._counts["DICOMDIR left aside"] += 1
                continue
            try:
                header = phi.read_header(path)
                if not header.instance:
                    raise RecordError("no-uid", "the image has no SOPInstanceUID")
                if not self._settings.allow_burned_in:
                    phi.refuse_burned_in(header)
            except RecordError as error:
                name = self._key("path", os.fsencode(path.relative_to(self._folder)))
                self._context.reject(name, at(number, error))
                continue
            joined = header.slice and header.series and not self._settings.slices
            place = f"series\0{header.study}\0{header.series}" if joined else f"file\0{number}"
            units.setdefault(place, Unit(number, [], header)).paths.append(path)
        yield from units.values()

    def name(self, unit: Unit) -> str:
        """Id of a case."""
        if len(unit.paths) > 1:
            return self._key("series", f"{unit.header.study}\0{unit.header.series}")
        return self._key("image", unit.header.instance)

    def case(self, unit: Unit) -> Case:
        """Read, copy, describe."""
        name = self.name(unit)
        if name in self._seen:
            raise RecordError("duplicate-id", "another file holds the same image (SOPInstanceUID)")
        image = self._image(unit)
        self._seen.add(name)  # a damaged copy must not stand in the way of a sound one
        path = f"{self._settings.images}/{name}.nii.gz"
        digest = self._write(self._context.root / path, nifti.encode(image, image.array))
        self._count(unit.header)
        ref = ImageRef(path=path, sha256=digest, window=resolve_window(image))
        person = unit.header.patient or unit.header.study
        group = self._key("patient" if unit.header.patient else "study", person) if person else name
        shown = looked_at(ref, image.shape[2], self._settings)
        return Case(id=name, image=shown, prompt=self._settings.prompt, task=self._settings.task, group=group)

    def _image(self, unit: Unit) -> Image:
        if len(unit.paths) > 1:
            return guard.read_series(unit.paths, unmarked=self._settings.allow_burned_in)
        if unit.header.burned_in:  # allowed, else it were not here
            return guard.read(unit.paths[0], "unmarked")[0]
        return read.read_image(unit.paths[0])

    def _write(self, path: Path, data: bytes) -> str:
        if path.exists() and not self._settings.force and path.read_bytes() != data:
            raise CannotCreateError("a copy of an image exists and differs: --force replaces it")
        write_atomic(path, data, sync=False)
        sync_file(path)
        return hashlib.sha256(data).hexdigest()

    def _count(self, header: phi.Header) -> None:
        self._counts["says nothing about burned-in text, though its kind of machine often writes it"] += header.unsure
        self._counts["marked as showing a recognisable person (a face)"] += header.face
        self._counts["taken although it has or may have burned-in text"] += header.burned_in or header.secondary

    def say(self) -> None:
        """What a person should look at, by number."""
        for message, count in sorted(self._counts.items()):
            if count:
                self._context.progress.warn(f"{message}: {count}")


def looked_at(ref: ImageRef, depth: int, settings: Settings) -> ImageRef | list[ImageRef]:
    """``ref`` with what is shown of its slices; a list where several are images of their own."""
    some = spread(depth, settings.shown)
    if depth == 1:
        return ref
    if settings.view == "mip":
        return msgspec.structs.replace(ref, projection="max")
    if settings.view == "middle" or len(some) == 1:
        return msgspec.structs.replace(ref, frame=depth // 2)
    if settings.view == "montage":
        return msgspec.structs.replace(ref, montage=some)
    return [msgspec.structs.replace(ref, frame=index) for index in some]
