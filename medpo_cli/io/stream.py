"""Reading and writing JSON Lines of records: strict, positioned, and never quoting a record's text.

Framing is by ``jsonlines``; decoding and validation by msgspec. A line that cannot be used becomes a
``RecordError`` with the line's number; the caller decides whether to skip it.
"""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import jsonlines
import msgspec

from medpo_cli.errors import BadInputError, RecordError
from medpo_cli.io.seen import Seen
from medpo_cli.schema.records import RECORDS, AnyRecord, Case, End, Part, Record

R = TypeVar("R", bound=Record)
MAX_LINE_BYTES = 64 << 20
MAX_DEPTH = 64
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)
_encoder = msgspec.json.Encoder()
_UNKNOWN = "unknown field `"
_PARTS: tuple[type[msgspec.Struct], ...] = (Part, *Part.__subclasses__(), *RECORDS.values())
_FIELDS = sorted({"schema", *(field for kind in _PARTS for field in kind.__struct_fields__)})
_LONGEST_NAME = 40
_PATH = re.compile(rf"\$(\.({'|'.join(_FIELDS)})|\[(\d+|\.\.\.)\])*")


def decode(line: str | bytes) -> Record:
    """One record from one line.

    Raises:
        RecordError: ``not-json``, ``bad-record``, ``duplicate-key`` or ``too-deep``; the message names
            the JSON path, never a value.
    """
    try:
        record = _decoder.decode(line)
        json.loads(line, object_pairs_hook=_unique)
        if isinstance(record, Case) and _deeper_than(MAX_DEPTH, record.ext):
            raise RecursionError
    except msgspec.ValidationError as error:
        raise RecordError("bad-record", *_said(str(error))) from None
    except (msgspec.DecodeError, ValueError):
        raise RecordError("not-json", "not valid JSON (or cut off)") from None
    except RecursionError:
        raise RecordError("too-deep", "objects are nested too deeply") from None
    return record


def _said(error: str) -> tuple[str, str]:
    """What msgspec found wrong and where, without what it quotes: values, and keys that no record has."""
    message, _, path = error.rpartition(" - at `") if " - at `" in error else (error, "", "$")
    path = path.rstrip("`")
    if not _PATH.fullmatch(path):  # it came out of a key
        path = "$"
    if message.startswith("Invalid"):
        return "not a known kind of record" if path == "$.schema" else "not one of the allowed values", path
    if _UNKNOWN in message:
        key = message.partition(_UNKNOWN)[2].rstrip("`")
        close = difflib.get_close_matches(key[:_LONGEST_NAME], _FIELDS, n=1, cutoff=0.7)
        return "unknown field" + (f"; did you mean {close[0]}?" if close else ""), path
    return message, path


def _deeper_than(limit: int, value: object) -> bool:
    """Whether ``ext`` is nested beyond ``limit``; Python's own limit differs between its versions."""
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refusing repeated keys (msgspec would keep the last one silently)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RecordError("duplicate-key", "an object holds the same key twice")
    return found


def encode(record: Record) -> bytes:
    """The line of a record, without line end.

    Raises:
        ValueError: the record holds NaN or an infinity, which JSON cannot express.
    """
    line = _encoder.encode(record)
    # msgspec writes NaN as null; defaults are omitted, so a null is rare and worth a look.
    if b"null" in line and not _finite(msgspec.to_builtins(record)):
        raise ValueError(f"a {type(record).__name__} record holds a number that is not finite")
    return line


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    return all(_finite(item) for item in value) if isinstance(value, list | tuple) else True


class _Lines:
    """Lines of a byte stream with bounded length, counted and hashed."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.number = 0
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while line := self.stream.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            self.digest.update(line)
            if len(line) > MAX_LINE_BYTES:
                raise BadInputError(f"line {self.number} is longer than {MAX_LINE_BYTES >> 20} MiB")
            yield line


class RecordReader:
    """Iterates the records of a stream that one stage accepts.

    Attributes:
        complete: True once the input ended with an end record.
        end: the end record read last.
        sha256: hex digest of the bytes read so far.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        accept: tuple[type[Record], ...],
        reject: Callable[[int, str | None, RecordError], None],
    ) -> None:
        self.name = name
        self._lines = _Lines(stream)
        self._reader = jsonlines.Reader(self._lines, loads=decode)
        self._accept = accept
        self._reject = reject
        self._seen = Seen()
        self.complete = False
        self.end: End | None = None

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far."""
        return self._lines.digest.hexdigest()

    @property
    def line(self) -> int:
        """Number of the line read last."""
        return self._lines.number

    def line_of(self, identifier: str | None) -> int:
        """The line of a record that went by, for messages about it further down the stage; else the last one."""
        return self._seen.line(identifier) or self.line

    def __iter__(self) -> Iterator[Record]:
        while True:
            try:
                record = self._reader.read()
            except EOFError:
                return
            except jsonlines.InvalidLineError:
                self._reject(self.line, None, RecordError("not-json", "an empty line, null, or not UTF-8"))
                self.complete = False
                continue
            except RecordError as error:
                self._reject(self.line, None, error)
                self.complete = False
                continue
            self.complete = isinstance(record, End)
            self.end = record if isinstance(record, End) else self.end
            if not self.complete and self._usable(record):
                yield record

    def _usable(self, record: Record) -> bool:
        identifier = getattr(record, "id", None)
        if not isinstance(record, self._accept):
            kinds = " or ".join(str(kind.__struct_config__.tag) for kind in self._accept)
            self._reject(self.line, identifier, RecordError("wrong-kind", f"expected {kinds}", "$.schema"))
            return False
        if isinstance(record, Case):
            if not self._seen.add(record.id, self.line):
                first = self._seen.line(record.id)
                self._reject(self.line, record.id, RecordError("duplicate-id", f"id already on line {first}", "$.id"))
                return False
        return True


def read_all(stream: BinaryIO, name: str, accept: tuple[type[Record], ...]) -> Iterator[Record]:
    """Records of a trusted file; the first bad line raises BadInputError naming file and line."""

    def refuse(line: int, identifier: str | None, error: RecordError) -> None:
        raise BadInputError(describe(name, line, identifier, error))

    return iter(RecordReader(stream, name, accept, refuse))


def read_file(path: Path, kind: type[R]) -> Iterator[R]:
    """All records of a trusted file, which are all of one kind; raises as ``read_all``."""
    with path.open("rb") as stream:
        yield from cast(Iterator[R], read_all(stream, path.name, (kind,)))


def describe(source: str, line: int, identifier: str | None, error: RecordError) -> str:
    """``pairs.jsonl:17 (id 3f2a): $.regions[0].mask: file not found under the root``."""
    where = f"{source}:{line}" + (f" (id {identifier})" if identifier else "")
    return f"{where}: {error.path + ': ' if error.path else ''}{error.message}"
