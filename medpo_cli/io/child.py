"""A program of the user that is spoken to in JSON lines, and that may hang, crash or talk nonsense."""

import contextlib
import os
import resource
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from medpo_cli.errors import CannotCreateError, ConfigError, MedpoError, UnavailableError

LONGEST_LINE = 2**16
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of our own Python, which would break a program that has another."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
M = TypeVar("M")


class ChildError(MedpoError):
    """The program failed.

    Attributes:
        reason: ``timeout``, ``crash`` or ``protocol``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Child:
    """A program in a session of its own, offline, without the paths of our Python.

    Args:
        command: words as a shell would split them; no shell is used.
        log: file for its standard error; else that is thrown away.
        what: how messages call it.
        memory: bytes of data that each of its processes may hold (0: no limit; Linux).

    Raises:
        ConfigError: the command's quotes are not closed.
    """

    def __init__(self, command: str, log: Path | None, what: str, *, memory: int = 0) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError:
            raise ConfigError(f"the {what}: quotes are not closed") from None
        self._log, self._what, self._memory = log, what, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def start(self) -> None:
        """Start it.

        Raises:
            UnavailableError: it cannot be started.
            CannotCreateError: its log cannot be written.
        """
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
            raise UnavailableError(f"the {self._what} cannot be started: {why}") from None
        if self._memory and hasattr(resource, "prlimit"):
            with contextlib.suppress(ProcessLookupError):  # it has ended already: the first line will tell
                resource.prlimit(self._process.pid, resource.RLIMIT_DATA, (self._memory, self._memory))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[IO[bytes]]:
        try:
            stream = (self._log or Path(os.devnull)).open("ab")
        except OSError:
            raise CannotCreateError(f"the file for what the {self._what} says cannot be written") from None
        with stream:
            yield stream

    def write(self, line: bytes, seconds: float | None = None) -> None:
        """Send one line; a program that does not read has ``seconds`` to begin (None: for ever).

        Raises:
            ChildError: ``crash``, ``timeout``.
        """
        assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018 - it runs
        pipe, rest = self._process.stdin.fileno(), memoryview(line + b"\n")
        os.set_blocking(pipe, False)
        end = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while rest:
                if not selector.select(None if end is None else max(0.0, end - time.monotonic())):
                    raise ChildError("timeout", f"the {self._what} took too long")
                try:
                    rest = rest[os.write(pipe, rest) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise ChildError("crash", f"the {self._what} ended") from None

    def read(self, kind: type[M], seconds: float) -> M:
        """Its next line as ``kind``.

        Raises:
            ChildError: ``timeout``, ``crash``, or ``protocol`` where the line is something else.
        """
        try:
            return msgspec.json.decode(self._line(time.monotonic() + seconds), type=kind)
        except msgspec.DecodeError:
            raise ChildError("protocol", f"the {self._what} does not speak the protocol") from None

    def _line(self, end: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018 - it runs
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise ChildError("timeout", f"the {self._what} took too long")
                part = os.read(self._process.stdout.fileno(), LONGEST_LINE)
                if not part:
                    raise ChildError("crash", f"the {self._what} ended")
                self._buffer += part
                if len(self._buffer) > LONGEST_LINE:
                    raise ChildError("protocol", f"the {self._what} does not speak the protocol")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def end(self) -> None:
        """End the program and what it started."""
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
