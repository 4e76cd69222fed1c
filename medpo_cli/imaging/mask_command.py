"""A mask program in an environment of its own, spoken to in JSON lines (docs/how-to/regions.md).

    it says   {"protocol": "medpo-masks/1", "name": "sam3", "version": "1.0"}
    we ask    {"request": 1, "image": ".nii.gz", "view": ".png", "frame": 0, "target": "nodule", "folder": "..."}
    it says   {"request": 1, "status": "ok", "mask": "a path in the folder", "score": 0.9}

It never sees a record, a prompt or a file name of ours: images are copies in a private folder. One that is
late or speaks otherwise is ended with all its children, and started anew for the next question.
"""

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from medpo_cli.errors import CannotCreateError, ConfigError, RecordError, UnavailableError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.window import view
from medpo_cli.schema.records import Window

PROTOCOL = "medpo-masks/1"
LONGEST_LINE = 2**16
MAX_FAILURES = 3
"""So many in a row, and the program is given up: it would only cost a time limit for every record."""
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+\-]{1,60}$")]
Status = Literal["ok", "no-target", "not-found", "low-score", "error"]
M = TypeVar("M")


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
        try:
            self._words = shlex.split(command)
        except ValueError:
            raise ConfigError("mask_cmd: quotes are not closed") from None
        self._limits, self._log = limits, log
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
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
        except RecordError as error:
            self._end()
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise UnavailableError(
                    f"the mask command failed {MAX_FAILURES} times in a row ({error.reason}); see --mask-log"
                ) from None
            raise
        self._failures = 0
        if reply.status == "error":
            raise RecordError("mask-error", "the mask command reports an error for this image")
        return reply.status, _inside(reply, folder), reply.score

    def close(self) -> None:
        """End it and remove the copies."""
        self._end()
        self._home.cleanup()

    def _request(self, asked: Asked, folder: Path) -> bytes:
        """Write the copies and the line that names them."""
        image, picture = folder / "image.nii.gz", folder / "view.png"
        image.write_bytes(nifti.encode(asked.image, asked.image.array))
        shown = asked.frame is not None or asked.image.shape[2] == 1
        if shown:
            _save_png(picture, view(asked.image, frame=asked.frame, window=asked.window))
        line = {
            "request": self._asked, "image": str(image), "view": str(picture) if shown else None,
            "frame": asked.frame, "target": asked.target, "modality": asked.image.modality, "folder": str(folder),
        }  # fmt: skip
        return msgspec.json.encode(line) + b"\n"

    def _reply(self, line: bytes) -> Reply:
        process = self._process or self._start()
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            raise RecordError("mask-crash", "the mask command ended") from None
        reply = self._read(Reply, self._limits.answer)
        if reply.request != self._asked:
            raise RecordError("mask-protocol", "the mask command answered another request")
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, offline, without our Python's paths, and hear its first line."""
        kept = {name: value for name, value in os.environ.items() if name not in OURS and not name.startswith("MEDPO_")}
        self._buffer = b""
        try:
            with self._errors() as errors:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                    env=kept | OFFLINE, start_new_session=True,
                )  # fmt: skip
        except (OSError, IndexError) as error:
            why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is empty"
            raise UnavailableError(f"the mask command cannot be started: {why}") from None
        try:
            hello = self._read(Hello, self._limits.startup)
        except RecordError as error:
            self._end()
            raise UnavailableError(f"{error.message} before it was ready ({error.reason})") from None
        self.source = f"{hello.name}:{hello.version}"
        return self._process

    @contextlib.contextmanager
    def _errors(self) -> Iterator[IO[bytes]]:
        try:
            stream = (self._log or Path(os.devnull)).open("ab")
        except OSError:
            raise CannotCreateError("the file for the mask command's messages cannot be written (--mask-log)") from None
        with stream:
            yield stream

    def _read(self, kind: type[M], seconds: float) -> M:
        """One line as ``kind``."""
        line = self._line(time.monotonic() + seconds)
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            raise RecordError("mask-protocol", "the mask command does not speak medpo-masks/1") from None

    def _line(self, end: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018 - it runs
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise RecordError("mask-timeout", "the mask command took too long")
                part = os.read(self._process.stdout.fileno(), LONGEST_LINE)
                if not part:
                    raise RecordError("mask-crash", "the mask command ended")
                self._buffer += part
                if len(self._buffer) > LONGEST_LINE:
                    raise RecordError("mask-protocol", "the mask command does not speak medpo-masks/1")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _end(self) -> None:
        """End the program and what it started; a new one is made when the next question comes."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _inside(reply: Reply, folder: Path) -> Path | None:
    """The mask file of a reply, which must lie in the request's folder."""
    if (reply.status == "ok") != (reply.mask is not None):
        raise RecordError("mask-protocol", "the mask command must name a mask with status ok, and only then")
    if reply.mask is None:
        return None
    path = Path(reply.mask).resolve() if "\0" not in reply.mask else Path("/")
    if not path.is_relative_to(folder.resolve()):
        raise RecordError("path-escape", "the mask command wrote its mask outside the folder that it was given")
    return path


def _save_png(path: Path, picture: np.ndarray) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(picture).save(path, format="PNG")
