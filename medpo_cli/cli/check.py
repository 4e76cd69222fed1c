"""``medpo check`` and ``medpo show``: look into a file of records without changing anything."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from medpo_cli.cli.inputs import open_file
from medpo_cli.errors import CannotCreateError, ExitCode, RecordError, UsageError
from medpo_cli.io.context import Context
from medpo_cli.io.stream import RecordReader, describe
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import AnyRecord, Case, Corrupted, ImageRef, Pair, Record, Sample

if TYPE_CHECKING:
    from medpo_cli.text.lint import Lint

COMPARED = "images compared"


class Inspection:
    """A file being read, with every problem said on stderr and counted.

    Attributes:
        reader: its usable records.
        context: for what looks at the records' files.
        problems: how many so far.
    """

    def __init__(self, command: str, file: Path, root: Path | None, accept: tuple[type[Record], ...]) -> None:
        self.command = command
        self.problems = 0
        source = open_file(file, accept, str(root or ""))
        self.name = source.name
        self.reader = RecordReader(source.stream, source.name, accept, self._report)
        self.context = Context(source.root, reject=self._reject)

    def _reject(self, identifier: str | None, error: RecordError) -> None:
        self._report(self.reader.line, identifier, error)

    def _report(self, line: int, identifier: str | None, error: RecordError) -> None:
        self.problems += 1
        self.say(describe(self.name, line, identifier, error))

    def say(self, text: str) -> None:
        """One line on stderr."""
        typer.echo(f"medpo {self.command}: {text}", err=True)

    def exit_code(self) -> ExitCode:
        """REJECTS if there was a problem."""
        return ExitCode.REJECTS if self.problems else ExitCode.DONE


def check(
    file: Path,
    root: Path | None,
    *,
    files: bool,
    images: bool = False,
    pairs: bool = False,
    as_json: bool = False,
) -> ExitCode:
    """Report every problem on stderr and counts by kind on stdout; 3 if there was any, 65 if cut off.

    Warnings of ``pairs`` are no problems: they are counted, and the first of each code is placed.
    """
    if as_json and not pairs:
        raise UsageError("--json belongs to --pairs")
    inspection = Inspection("check", file, root, get_args(AnyRecord))
    counts: dict[str, int] = {}
    lint = _lint() if pairs else None
    for record in inspection.reader:
        kind = str(type(record).__struct_config__.tag)
        counts[kind] = counts.get(kind, 0) + 1
        if not isinstance(record, Case):
            continue
        problems = inspection.problems
        if files:
            _look_for_files(record, inspection.context)
        if images and inspection.problems == problems:  # a missing file need not be said twice
            from medpo_cli.cli.check_images import check_images

            counts[COMPARED] = counts.get(COMPARED, 0) + check_images(record, inspection.context)
        if lint is not None and isinstance(record, Pair):
            _warn(lint, record, inspection)
    if not as_json:
        for kind, count in counts.items():
            typer.echo(f"{kind:<18}{count:>8}")
    if lint is not None:
        _say_lint(lint, as_json=as_json)
    if not inspection.reader.complete:
        inspection.say(f"{inspection.name}: no end record: written by hand, or cut off")
        return ExitCode.BAD_INPUT
    return inspection.exit_code()


def show(file: Path, root: Path | None, page: Path, *, limit: int, with_text: bool, force: bool) -> ExitCode:
    """Write a self-contained page of the first records: images, regions, differing words."""
    from medpo_cli.evaluation.page.browse import write_records_page

    if page.exists() and not force:
        raise CannotCreateError(f"{page.name} exists: --force replaces it")
    inspection = Inspection("show", file, root, (Case, Sample, Pair))
    records: Any = inspection.reader
    total = write_records_page(page, records, inspection.context, with_text=with_text, limit=limit)
    inspection.say(f"{min(limit, total)} of {total} records on {page.name}")
    return inspection.exit_code()


def _lint() -> "Lint":
    from medpo_cli.text.lexicon import load_lexicon
    from medpo_cli.text.lint import Lint

    return Lint(load_lexicon())


def _warn(lint: "Lint", pair: Pair, inspection: Inspection) -> None:
    """Place the first pair of each code."""
    for code in lint.take(pair):
        if lint.warnings[code] == 1:
            inspection.say(f"{inspection.name}:{inspection.reader.line} (id {pair.id}): first {code}")


def _say_lint(lint: "Lint", *, as_json: bool) -> None:
    """Statistics and warnings on stdout."""
    from medpo_cli.text.lint import WARNINGS

    if as_json:
        found = {"pairs": lint.pairs, "statistics": lint.statistics(), "warnings": dict(lint.warnings)}
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in lint.statistics().items():
        typer.echo(f"{name:<40}{value:>10.3f}")
    for code, count in lint.warnings.most_common():
        typer.echo(f"warning: {code:<18}{count:>8}  {WARNINGS[code]}")


def _look_for_files(record: Case, context: Context) -> None:
    paths = _paths(record)
    try:
        paths += _extra_paths(record)
    except RecordError as error:
        context.reject(record.id, error)
    for path, field in paths:
        try:
            context.resolve(path, field, folder=field.startswith("$.image"))
        except RecordError as error:
            context.reject(record.id, error)


def _paths(record: Case) -> list[tuple[str, str]]:
    def ref(image: ImageRef, field: str) -> tuple[str, str]:
        return image.path, f"{field}.path"

    found = [ref(image, f"$.image[{number}]") for number, image in enumerate(record.images)]
    for number, region in enumerate(record.regions or []):
        if region.mask is not None:
            found.append((region.mask.path, f"$.regions[{number}].mask.path"))
    made: list[tuple[Corrupted | None, str]] = [(record.corrupted, "$.corrupted"), (record.control, "$.control")]
    found += [ref(one.image, f"{field}.image") for one, field in made if one is not None]
    return found


def _extra_paths(record: Case) -> list[tuple[str, str]]:
    """Images of ``ext.align``; raises RecordError where that is malformed."""
    more = extras(record)
    return [(ref.path, f"{field}.path") for ref, field in [*more.ladder_images(), *more.twin_images()]]
