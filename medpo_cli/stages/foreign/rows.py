"""Rows of a foreign file: JSON Lines one by one, a JSON array at once, up to a limit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from medpo_cli.errors import BadInputError, NoInputError

LARGEST_ARRAY = 2 * 2**30
LONGEST_LINE = 32 * 2**20


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Number (line, or place in the array from 1) and value of each row; a broken line is None.

    An object of lists (splits, as R2Gen's annotation.json) gives the rows of all lists in turn.

    Raises:
        NoInputError: the file cannot be read.
        BadInputError: an array that is no JSON or too large, or an object that holds no list.
    """
    try:
        with path.open("rb") as stream:
            if _first_mark(stream.read(4096)) == b"[" or not _is_lines(path):
                yield from _whole(path)
                return
            stream.seek(0)
            for number, line in enumerate(_lines(stream), start=1):
                if line.strip():
                    yield number, _value(line)
    except OSError as error:
        raise NoInputError(f"cannot read {path.name}: {error.strerror or 'I/O error'}") from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long one byte more than a line may have."""
    while line := stream.readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_LINE + 1)
        yield line


def _first_mark(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _is_lines(path: Path) -> bool:
    """Whether the first line is a JSON value of its own."""
    with path.open("rb") as stream:
        line = stream.readline(LONGEST_LINE).removeprefix(b"\xef\xbb\xbf")
        return isinstance(_value(line), dict) and (bool(stream.readline(2).strip()) or not _is_splits(_value(line)))


def _is_splits(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, list) for one in value.values())


def _value(line: bytes) -> Any:
    if len(line) > LONGEST_LINE:
        return None
    try:
        value = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None
    return value if not _may_hold_halves(line) or _is_text(value) else None


def _may_hold_halves(data: bytes) -> bool:
    """Whether an escape in it may be half a character."""
    return b"\\ud" in data or b"\\uD" in data


def _is_text(value: Any) -> bool:
    """Whether no string in it holds half a character, which no record could hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(path: Path) -> Iterator[tuple[int, Any]]:
    if path.stat().st_size > LARGEST_ARRAY:
        raise BadInputError(f"{path.name}: a JSON array above 2 GiB: turn it into JSON Lines (jq -c '.[]')")
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInputError(f"{path.name}: neither JSON Lines nor a JSON array") from None
    if _is_splits(value):
        value = [row for split in value.values() for row in split]
    if not isinstance(value, list):
        raise BadInputError(f"{path.name}: a JSON array of rows is wanted")
    halves = _may_hold_halves(data)
    for number, row in enumerate(value, start=1):
        yield number, row if not halves or _is_text(row) else None
