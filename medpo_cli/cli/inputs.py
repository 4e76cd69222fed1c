"""Which input a stage reads when the command line is silent."""

import io
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medpo_cli.errors import NoInputError, UsageError
from medpo_cli.io.log import plain
from medpo_cli.schema.records import Record

CHUNK = 2**20


@dataclass
class Source:
    """An open input: its stream, the name for messages, the root of its paths, what is accepted."""

    stream: BinaryIO
    name: str
    root: Path
    accept: tuple[type[Record], ...]


def stdin_is_data() -> bool:
    """True if standard input is a pipe, socket or redirected file: neither a terminal nor /dev/null."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def open_file(path: Path, accept: tuple[type[Record], ...], root: str) -> Source:
    """A file as input.

    Raises:
        NoInputError: it does not exist or cannot be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise NoInputError(f"cannot read input {path.name}: {os.strerror(error.errno or 0)}") from None
    return Source(stream, plain(path.name), Path(root) if root else path.parent, accept)


def open_stdin(accept: tuple[type[Record], ...], root: str) -> Source:
    """Standard input as input."""
    return Source(sys.stdin.buffer, "standard input", Path(root or "."), accept)


def stdin_has_bytes() -> bool:
    """Wait for the first byte of standard input; False if it ends without one."""
    return bool(io.BufferedReader.peek(sys.stdin.buffer, 1))  # type: ignore[arg-type]


def records_in(stream: BinaryIO) -> int | None:
    """How many records a file still holds, its end record left out; None for a pipe. For progress: lines, unread."""
    if not stream.seekable():
        return None
    place, lines, last = stream.tell(), 0, b""
    while chunk := stream.read(CHUNK):
        lines += chunk.count(b"\n")
        last = (last + chunk)[-CHUNK:]
    stream.seek(place)
    end = last.rstrip(b"\n").rpartition(b"\n")[2].startswith(b'{"schema":"medpo.end/')
    return max(0, lines + bool(last and not last.endswith(b"\n")) - end)


def missing_input(stage: str) -> UsageError:
    """What to say when there is nothing to read."""
    return UsageError(f"nothing to read: give INPUT, pipe records in, or set [{stage}] input in medpo.toml")
