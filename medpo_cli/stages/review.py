"""``medpo edit --apply-review``: verdicts of a person taken back to the pairs."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from medpo_cli.errors import BadInputError, NoInputError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.files import sha256_file, translate_os_error
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import Pair
from medpo_cli.stages.audit import text_digest

VERDICTS = ("accept", "reject", "unsure")
_DELIMITERS = ",;\t"  # what spreadsheets write, by country
_SHOWN = 5


class Row(NamedTuple):
    """One line of a review: its number in the table (the heading is 1), what was said, of which texts."""

    number: int
    verdict: str
    digest: str


def run(records: Iterable[Pair], config: EditConfig, context: Context) -> Iterator[Pair]:
    """Pass pairs on as they are, except those that the review rejects (code ``review``).

    Unsure pairs and those without a verdict pass.

    Args:
        records: the pairs that were audited, and others.
        config: ``apply_review`` is the CSV.
        context: reject sink, progress, facts for the manifest.

    Raises:
        NoInputError: there is no such file.
        BadInputError: it is no review (columns, verdicts, ids twice), names a pair that never came, or judged
            other texts than the pair has now. Messages name rows, never what they hold.
    """
    path = Path(config.apply_review)
    rows = read_review(path)
    context.facts["review_sha256"] = sha256_file(path)
    said: Counter[str] = Counter()
    context.progress.start("review", context.expected)
    for pair in records:
        row = rows.pop(pair.id, None)
        verdict = row.verdict if row else ""
        said[verdict or "not judged"] += 1
        if row and row.digest and row.digest != text_digest(pair):
            raise BadInputError(f"{path.name} row {row.number}: the pair has other texts than those that were reviewed")
        if verdict == "reject":
            context.reject(pair.id, RecordError("review", "refused by the review"))
        else:
            yield pair
        context.progress.advance()
    if rows:
        raise BadInputError(f"{path.name} judges pairs that are not in the input: {_list(rows.values())}")
    summary = ", ".join(f"{said[name]} {name}" for name in (*VERDICTS, "not judged"))
    context.facts["review"] = summary
    context.progress.note(f"review: {summary}")


def _list(rows: Iterable[Row]) -> str:
    numbers = [str(row.number) for row in rows]
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:_SHOWN])}{more}"


def read_review(path: Path) -> dict[str, Row]:
    """The rows of a reviewed CSV by pair id; columns ``id`` and ``verdict``, perhaps ``digest``, others ignored.

    Raises:
        NoInputError, BadInputError: as ``run``.
    """
    found: dict[str, Row] = {}
    for number, cells in enumerate(_table(path), start=2):
        if not any(cells.values()):
            continue
        where = f"{path.name} row {number}"
        identifier, verdict = cells["id"].removeprefix("'"), cells["verdict"].lower()
        if not identifier:
            raise BadInputError(f"{where}: no id")
        if verdict not in ("", *VERDICTS):
            raise BadInputError(f"{where}: the verdict is none of {', '.join(VERDICTS)}")
        if identifier in found:
            raise BadInputError(f"{where}: the same id as row {found[identifier].number}")
        found[identifier] = Row(number, verdict, cells["digest"])
    return found


def _table(path: Path) -> Iterator[dict[str, str]]:
    """Rows as stripped cells of ``id``, ``verdict`` and ``digest``; what a short row lacks is empty."""
    text = _text(path)
    heading = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(len(text) + 1)  # a prompt in the audit may be as long as a record's line
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if names.count("id") != 1 or names.count("verdict") != 1:
            raise BadInputError(f"{path.name}: the first row must name the columns id and verdict, once each")
        for row in reader:
            cells = dict(zip(names, (cell.strip() for cell in row), strict=False))
            yield {name: cells.get(name, "") for name in ("id", "verdict", "digest")}
    except csv.Error:
        raise BadInputError(f"{path.name} near line {reader.line_num}: not a CSV table") from None
    finally:
        csv.field_size_limit(before)


def _text(path: Path) -> str:
    """The file as text: UTF-8, or UTF-16 with its mark as some spreadsheets write it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NoInputError(f"review {path.name} not found") from None
    except OSError as error:
        raise translate_os_error(error, path.name) from error
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError(f"{path.name} is not UTF-8: save it as 'CSV UTF-8'") from None
