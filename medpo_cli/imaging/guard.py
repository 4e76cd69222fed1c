"""Files are read by a process of its own, which may hang, crash or run out of memory without harm to the run.

Decoders are native code on foreign bytes: some abort the whole process, some never end, some take all memory
(measured over thousands of damaged files). The process lives long, so that a file costs one exchange over a
socket; whatever ends it costs the one record whose file it was reading, and the next file gets a fresh one.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from medpo_cli.errors import RecordError, UnavailableError
from medpo_cli.imaging import wire
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.marks import Marks

MEMORY = 2**33
"""Bytes of address space: the largest image that the cap allows (2**28 samples) as eight-byte numbers in three
copies, with its file."""
SECONDS = 20.0
"""Time for a small file: the slowest sound one measured takes well under a second."""
BYTES_PER_SECOND = 2**20
"""A large file gets a second more for each of so many bytes: JPEG 2000, the slowest codec, decodes about 3.4 MB/s."""
START = 60.0
"""Seconds until the process must be there."""
STALL = 20.0
"""Seconds in which more voxels must arrive once they do: the time is not spent on decoding any more."""


def read(path: Path, task: wire.Task = "image") -> tuple[Image, str]:
    """Image and sha256 (hex) of a file.

    Args:
        path: an absolute path, or one that holds for this process's working folder.
        task: ``image``, or ``unmarked`` for one whose mark of burned-in annotation is set aside.

    Raises:
        RecordError: what reading raises, and ``decode-crash``, ``decode-memory``, ``decode-timeout``.
        UnavailableError: the process cannot be started.
    """
    reply, image = _GUARD.ask(task, path)
    assert image is not None  # noqa: S101 - these tasks answer with an image
    return image, reply.sha256


def read_series(paths: Sequence[Path], *, unmarked: bool = False) -> Image:
    """The volume of the slices in ``paths``; raises as ``read``, with the codes of ``series.read_series``.

    Args:
        paths: files of one series in any order.
        unmarked: set aside marks of burned-in annotation.
    """
    _, image = _GUARD.ask("unmarked-series" if unmarked else "series", *paths)
    assert image is not None  # noqa: S101 - these tasks answer with an image
    return image


def read_marks(path: Path) -> tuple[Marks, Image, str]:
    """Marks of a DICOM segmentation or structure set, their array and the sha256 (hex) of the file.

    Raises:
        RecordError: as ``read`` and ``marks.decode``.
    """
    reply, image = _GUARD.ask("marks", path)
    assert image is not None  # noqa: S101 - this task answers with an image
    return msgspec.msgpack.decode(reply.value, type=Marks), image, reply.sha256


def header(path: Path) -> bytes:
    """MessagePack of the ``phi.Header`` of a DICOM file; raises as ``read``."""
    return _GUARD.ask("header", path)[0].value


class Guard:
    """The process, started with the first question and again after each that it does not survive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._owner = 0
        self._used = False

    @property
    def pid(self) -> int | None:
        """Process id while one runs."""
        return None if self._process is None else self._process.pid

    def ask(self, task: wire.Task, *paths: Path) -> tuple[wire.Reply, Image | None]:
        """The reply to one question, with the image where it has one; raises as ``read``."""
        with self._lock:
            if self._line is None or self._owner != os.getpid():
                self._start()
            used, self._used = self._used, True
            reply, image = self._attempt(task, paths)
            # One that has read other files may have been hurt by them: this one is not judged by it.
            if used and reply.refusal and reply.refusal[0] in ("decode-crash", "decode-memory"):
                self._start()
                reply, image = self._attempt(task, paths)
        if reply.refusal is not None:
            raise RecordError(*reply.refusal)
        return reply, image

    def _attempt(self, task: wire.Task, paths: Sequence[Path]) -> tuple[wire.Reply, Image | None]:
        """Ask; where no answer comes the process is ended and the reply says why."""
        failure = None
        try:
            reply, image = self._exchange(task, paths)
            if reply.refusal and reply.refusal[0] == "decode-memory":
                self.end()  # What could not be had may be lost in what was.
            return reply, image
        except TimeoutError:
            failure = RecordError("decode-timeout", "reading the file took too long and was stopped")
        except (wire.BrokenError, OSError, MemoryError):
            failure = RecordError("decode-crash", "reading the file crashed its process")
        except BaseException:
            self.end()  # Its answer would be taken for that to the next question.
            raise
        self.end()
        return wire.Reply(refusal=(failure.reason, failure.message, None)), None

    def _exchange(self, task: wire.Task, paths: Sequence[Path]) -> tuple[wire.Reply, Image | None]:
        line = self._line
        assert line is not None  # noqa: S101 - ``ask`` has started it
        seconds = allowed(paths)
        end = time.monotonic() + seconds
        line.settimeout(STALL)
        wire.send(line, wire.Question(task, [os.fsencode(path.absolute()) for path in paths], seconds))
        line.settimeout(max(0.001, end - time.monotonic()))
        reply = wire.receive(line, wire.Reply)
        line.settimeout(STALL)
        if reply.image is None:
            return reply, None
        return reply, wire.image_of(reply.image, lambda shape, dtype: wire.receive_array(line, shape, dtype))

    def _start(self) -> None:
        """Start it, and hear that it is there."""
        if self._owner == os.getpid():
            self.end()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-P", "-m", "medpo_cli.imaging.guarded", str(MEMORY)],
                    stdin=theirs.fileno(), stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL, env=_environment(), start_new_session=True,
                )  # fmt: skip
            self._line, self._owner, self._used = ours, os.getpid(), False
            ours.settimeout(START)
            wire.receive(ours, str)
        except (wire.BrokenError, OSError):
            ours.close()
            self.end()
            raise UnavailableError("the process that reads image files cannot be started") from None

    def end(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()


def allowed(paths: Sequence[Path]) -> float:
    """Seconds that reading files (or the files of folders) may take."""
    try:
        parts = [part for path in paths for part in (path.iterdir() if path.is_dir() else (path,))]
        size = sum(part.stat().st_size for part in parts)
    except OSError:
        size = 0
    return SECONDS + size / BYTES_PER_SECOND


def _environment() -> dict[str, str]:
    """Ours, with the places of our modules; one thread, since each takes address space and none is of use."""
    places = os.pathsep.join(place for place in sys.path if place)
    return os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


_GUARD = Guard()
atexit.register(_GUARD.end)
