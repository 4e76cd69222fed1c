"""A mask program in an environment of its own, spoken to in JSON lines (docs/how-to/regions.md).

    it says   {"protocol": "medpo-masks/1", "name": "sam3", "version": "1.0"}
    we ask    {"request": 1, "image": ".nii.gz", "view": ".png", "frame": 0, "target": "nodule", "folder": "..."}
    it says   {"request": 1, "status": "ok", "mask": "a path in the folder", "score": 0.9}

It never sees a record, a prompt or a file name of ours: images are copies in a private folder. One that is
late or speaks otherwise is ended with all its children, and started anew for the next question.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from PIL import Image as Pillow

from medpo_cli.errors import RecordError, UnavailableError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.window import view
from medpo_cli.io.child import Child, ChildError
from medpo_cli.schema.records import Window

MAX_FAILURES = 3
"""So many in a row, and the program is given up: it would only cost a time limit for every record."""

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+\-]{1,60}$(?!\n)")]
Status = Literal["ok", "no-target", "not-found", "low-score", "error"]


class Hello(msgspec.Struct, forbid_unknown_fields=True):
    """The program's first line."""

    protocol: Literal["medpo-masks/1"]
    name: Word
    version: Word


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """The program's answer to one request."""

    request: int
    status: Status
    mask: str | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None


@dataclass(frozen=True)
class Asked:
    """What is looked for where.

    Attributes:
        image: the image.
        target: a finding in words, such as ``pleural effusion``.
        frame: index of axis 2 that the record is about, None for all.
        window: how it is looked at.
    """

    image: Image
    target: str
    frame: int | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Limits:
    """Seconds until the program is ready, and that one answer may take."""

    startup: float = 600.0
    answer: float = 120.0


class MaskCommand:
    """The program while a stage runs; a context manager.

    Args:
        command: words as a shell would split them; no shell is used.
        limits: times it has.
        log: file for its standard error; else that is thrown away.

    Attributes:
        source: its name and version, once it runs.
    """

    def __init__(self, command: str, limits: Limits, log: Path | None = None) -> None:
        self._child = Child(command, log, "mask command")
        self._limits = limits
        self._asked = self._failures = 0
        self._home = tempfile.TemporaryDirectory(prefix="medpo-masks-")
        self.source = ""

    def __enter__(self) -> "MaskCommand":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, asked: Asked) -> tuple[Status, Path | None, float | None]:
        """Status, mask file (with status ok; there until the next question) and score of one target.

        Raises:
            RecordError: ``mask-timeout``, ``mask-crash``, ``mask-protocol``, ``mask-error``.
            UnavailableError: it cannot be started, or failed several times in a row.
        """
        shutil.rmtree(Path(self._home.name, str(self._asked)), ignore_errors=True)
        self._asked += 1
        folder = Path(self._home.name, str(self._asked))
        folder.mkdir()
        try:
            reply = self._reply(self._request(asked, folder))
        except ChildError as error:
            self._failed(error)
            raise refusal(error) from None
        self._failures = 0
        if reply.status == "error":
            raise RecordError("mask-error", "the mask command reports an error for this image")
        return reply.status, _inside(reply, folder), reply.score

    def close(self) -> None:
        """End it and remove the copies."""
        self._child.end()
        self._home.cleanup()

    def _failed(self, error: ChildError) -> None:
        """End the program, to be started anew for the next question; after several failures give up."""
        self._child.end()
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            raise UnavailableError(
                f"the mask command failed {MAX_FAILURES} times in a row ({error.reason}); see --mask-log"
            ) from None

    def _request(self, asked: Asked, folder: Path) -> bytes:
        """Write the copies and the line that names them."""
        image, picture = folder / "image.nii.gz", folder / "view.png"
        image.write_bytes(nifti.encode(asked.image, asked.image.array))
        shown = asked.frame is not None or asked.image.shape[2] == 1
        if shown:
            Pillow.fromarray(view(asked.image, frame=asked.frame, window=asked.window)).save(picture, format="PNG")
        line = {
            "request": self._asked, "image": str(image), "view": str(picture) if shown else None,
            "frame": asked.frame, "target": asked.target, "modality": asked.image.modality, "folder": str(folder),
        }  # fmt: skip
        return msgspec.json.encode(line)

    def _reply(self, line: bytes) -> Reply:
        if not self._child.runs:
            self._start()
        self._child.write(line)
        reply = self._child.read(Reply, self._limits.answer)
        named = (reply.status == "ok") == (reply.mask is not None)
        if reply.request != self._asked or not named:
            raise ChildError("protocol", "the mask command answered another request, or named a mask without status ok")
        return reply

    def _start(self) -> None:
        """Start it and hear its first line."""
        self._child.start()
        try:
            hello = self._child.read(Hello, self._limits.startup)
        except ChildError as error:
            self._child.end()
            raise UnavailableError(f"{error} before it was ready ({error.reason}); see --mask-log") from None
        self.source = f"{hello.name}:{hello.version}"


def refusal(error: ChildError) -> RecordError:
    """Why a record has no answer of the program."""
    if error.reason == "timeout":
        return RecordError("mask-timeout", "the mask command took too long (--mask-timeout)")
    if error.reason == "crash":
        return RecordError("mask-crash", "the mask command ended before it answered")
    return RecordError("mask-protocol", "the mask command does not speak medpo-masks/1, or answered something else")


def _inside(reply: Reply, folder: Path) -> Path | None:
    """The mask file of a reply, which must lie in the request's folder."""
    if reply.mask is None:
        return None
    path = Path(reply.mask).resolve() if "\0" not in reply.mask else Path("/")
    if not path.is_relative_to(folder.resolve()):
        raise RecordError("path-escape", "the mask command wrote its mask outside the folder that it was given")
    return path
