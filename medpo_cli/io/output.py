"""Where a stage's records go: a pipe, or a file that appears only when it is whole.

A file grows as ``NAME.part`` and is renamed at the end. A run that was killed leaves the part;
``--resume`` cuts its torn last line and goes on behind it. Two runs never share a part (flock).
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from medpo_cli.errors import (
    BadInputError,
    CannotCreateError,
    ConfigError,
    ExitCode,
    MedpoError,
    OutputError,
    TryLaterError,
)
from medpo_cli.io.files import sync_file, translate_os_error
from medpo_cli.io.stream import decode, encode
from medpo_cli.schema.records import End, Record

REJECTS = ".rejects.jsonl"
"""What the name of an output gets for the records that it lacks."""


class ReaderGoneError(MedpoError):
    """The process that read our standard output has gone; not an error of ours."""

    code = ExitCode.SIGPIPE


class Output:
    """A record stream under way.

    Attributes:
        count: records written, those found by ``--resume`` included.
        sha256: hash over the bytes written.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._digest = hashlib.sha256()
        self.count = 0

    @property
    def sha256(self) -> str:
        """Hex digest of everything written."""
        return self._digest.hexdigest()

    def write(self, record: Record) -> None:
        """Write and flush one record."""
        self._put(encode(record) + b"\n")
        self.count += not isinstance(record, End)

    def _put(self, line: bytes) -> None:
        try:
            self._stream.write(line)
            self._stream.flush()
        except BrokenPipeError:
            raise ReaderGoneError("the reader of the output has gone") from None
        except OSError as error:
            raise translate_os_error(error, self._name) from error
        self._digest.update(line)

    def finish(self, end: End) -> None:
        """Write the end record; for a file, make it appear under its name."""
        self.write(end)

    def close(self) -> None:
        """Let go without finishing."""
        with contextlib.suppress(OSError):
            self._stream.close()


class FileOutput(Output):
    """``-o FILE``.

    Raises:
        CannotCreateError: the file exists (without force or resume), or its folder cannot be written.
        TryLaterError: another run is writing the same file.
    """

    def __init__(self, path: Path, *, force: bool = False, resume: bool = False) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        if not (force or resume):
            self._refuse_existing()
        super().__init__(self._open(), path.name)
        self._before = 0
        if not resume:
            self._stream.truncate(0)
            return
        try:
            self._pick_up()
        except MedpoError:
            self._stream.close()
            raise

    def _refuse_existing(self) -> None:
        if self.path.exists():
            raise CannotCreateError(f"{self.path.name} exists: --force replaces it, --resume goes on with it")
        if self.part.exists():
            raise CannotCreateError(f"an unfinished {self.part.name} exists: --resume goes on, --force starts again")

    def _open(self) -> BinaryIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stream = self.part.open("a+b")
        except OSError as error:
            raise translate_os_error(error, self.path.name) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise TryLaterError(f"another run is writing {self.path.name}; try again later") from None
        return stream

    def _pick_up(self) -> None:
        """Go on behind what an earlier run finished: its part, or else the complete file."""
        # The part is cut, never written anew: a kill in between must not lose what it holds.
        self._stream.truncate(self._count_in(self.part))
        if not self.count and self.path.exists():
            for line, _ in _finished(self.path):
                self._put(line)
                self.count += 1
        self._before = self.count

    def _count_in(self, path: Path) -> int:
        """Count and hash the whole records of ``path``; their bytes."""
        size = 0
        for line, _ in _finished(path):
            self._digest.update(line)
            self.count += 1
            size += len(line)
        return size

    def resumed(self) -> Iterator[Record]:
        """The records that an earlier run left."""
        return (record for _, record in self._before_this_run())

    def _before_this_run(self) -> Iterator[tuple[bytes, Record]]:
        return islice(_finished(self.part), self._before)

    def replay(self, records: Iterator[Record]) -> Iterator[Record]:
        """Drop from ``records`` those that are already written, checking that they are the same.

        Raises:
            ConfigError: the input or the program has changed since the unfinished run.
        """
        for number, (line, before) in enumerate(self._before_this_run(), start=1):
            record = next(records, None)
            if record is None or encode(record) + b"\n" != line:
                raise ConfigError(
                    f"cannot resume {self.path.name}: {self._line(number, before)} differs from what this run makes: "
                    "input or program have changed; --force starts again, another -o leaves it as it is"
                )
        yield from records

    def _line(self, number: int, record: Record) -> str:
        identifier = getattr(record, "id", None)
        return f"{self.part.name}:{number}" + (f" (id {identifier})" if identifier else "")

    def finish(self, end: End) -> None:
        """Write the end record, fsync, rename."""
        super().finish(end)
        try:
            sync_file(self.part)
            self.part.replace(self.path)
            self._stream.close()
        except OSError as error:
            raise OutputError(f"{self.path.name}: {os.strerror(error.errno or 0)}") from error


def _finished(path: Path) -> Iterator[tuple[bytes, Record]]:
    """The lines of whole records, each with its record, before the end record or a torn line."""
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n") or isinstance(record := _known(line), End):
                return
            yield line, record


def _known(line: bytes) -> Record:
    try:
        return decode(line)
    except MedpoError:
        raise BadInputError("the unfinished output holds a line that is not a record; use --force") from None


def write_file(path: Path, records: Iterable[Record], *, stage: str, run: str) -> None:
    """Replace ``path`` by these records and an end record; whatever ``records`` raises leaves the old file.

    Args:
        path: the file.
        records: what to write.
        stage: of the end record.
        run: of the end record.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: the disk is full.
    """
    output = FileOutput(path, force=True)
    try:
        for record in records:
            output.write(record)
        output.finish(End(stage=stage, run=run, records=output.count, rejected=0))
    finally:
        output.close()
