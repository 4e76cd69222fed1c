"""``medpo check``: would the stages take this file?"""

from pathlib import Path
from typing import get_args

import typer

from medpo_cli.cli.inputs import open_file
from medpo_cli.errors import ExitCode, RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.stream import RecordReader, describe
from medpo_cli.schema.records import AnyRecord, Case, Corrupted, ImageRef, Record


def run(file: Path, root: Path, *, files: bool) -> ExitCode:
    """Report every problem on stderr and counts by kind on stdout; 3 if there was any, 65 if cut off."""
    source = open_file(file, get_args(AnyRecord), str(root))
    problems = 0

    def report(line: int, identifier: str | None, error: RecordError) -> None:
        nonlocal problems
        problems += 1
        typer.echo(f"medpo check: {describe(source.name, line, identifier, error)}", err=True)

    reader = RecordReader(source.stream, source.name, source.accept, report)
    context = Context(root, reject=lambda identifier, error: report(reader.line, identifier, error))
    counts: dict[str, int] = {}
    for record in reader:
        kind = str(type(record).__struct_config__.tag)
        counts[kind] = counts.get(kind, 0) + 1
        if files:
            _look_for_files(record, context)
    for kind, count in counts.items():
        typer.echo(f"{kind:<18}{count:>8}")
    if not reader.complete:
        typer.echo(f"medpo check: {source.name}: no end record: written by hand, or cut off", err=True)
        return ExitCode.BAD_INPUT
    return ExitCode.REJECTS if problems else ExitCode.DONE


def _look_for_files(record: Record, context: Context) -> None:
    if not isinstance(record, Case):
        return
    for path, field in _paths(record):
        try:
            context.resolve(path, field)
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
