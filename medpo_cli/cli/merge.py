"""``medpo merge``: the outputs of all shards of a run as the one output that the run would have had."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

from medpo_cli.cli.inputs import open_file
from medpo_cli.errors import BadInputError, CannotCreateError, ExitCode, RecordError, UsageError
from medpo_cli.io.log import Messages
from medpo_cli.io.output import REJECTS, FileOutput, Output, write_file
from medpo_cli.io.paths import prefix_between, rebase
from medpo_cli.io.stdout import guard_stdout
from medpo_cli.io.stream import RecordReader, describe, read_file
from medpo_cli.schema.records import AnyRecord, End, Reject


class Part:
    """The output of one shard, read as it is asked for.

    Attributes:
        head: the next record, or None at the end.
    """

    def __init__(self, path: Path, root: Path, stack: ExitStack) -> None:
        source = open_file(path, get_args(AnyRecord), "")
        stack.enter_context(source.stream)
        prefix = prefix_between(path.parent, root)
        if prefix is None:
            raise UsageError(f"{path.name} must lie in the folder of the output, or below it")
        self.name, self._prefix = path.name, prefix
        self._reader = RecordReader(source.stream, path.name, source.accept, self._refuse)
        self._records: Iterator[Any] = iter(self._reader)
        self.advance()

    def _refuse(self, line: int, identifier: str | None, error: RecordError) -> None:
        raise BadInputError(describe(self.name, line, identifier, error))

    def advance(self) -> None:
        """Read one more."""
        record = next(self._records, None)
        self.head: Any = None if record is None else rebase(record, self._prefix)

    @property
    def end(self) -> End:
        """Its end record.

        Raises:
            BadInputError: it has none: the shard was cut off, or is still being written.
        """
        if self._reader.end is None or not self._reader.complete:
            raise BadInputError(f"{self.name} ends without an end record: this shard is not finished")
        return self._reader.end


def run(file: Path, shards: list[Path], output: str, *, force: bool) -> ExitCode:
    """Merge; the result is what one run without ``--shard`` would have written, byte for byte.

    Args:
        file: the input that all shards read.
        shards: their outputs, in any order.
        output: file, or ``-``.
        force: replace an existing file.

    Raises:
        BadInputError: a shard is cut off, missing, or of another run or input.
    """
    stdout, messages = guard_stdout(), Messages("merge")
    to_file = output not in ("", "-")
    root = Path(output).parent if to_file else Path()
    rejects = Path(output + REJECTS) if to_file else None
    refused = _refused(shards)
    if rejects is not None and refused and rejects.exists() and not force:
        raise CannotCreateError(f"{rejects.name} exists: --force replaces it")
    with ExitStack() as stack:
        parts = [Part(path, root, stack) for path in shards]
        target = FileOutput(Path(output), force=force) if to_file else Output(stdout, "standard output")
        stack.callback(target.close)
        lost = 0
        for identifier in _identifiers(file):
            part = next((one for one in parts if one.head is not None and one.head.id == identifier), None)
            if identifier is None or part is None:
                lost += 1
                continue
            target.write(part.head)
            part.advance()
        target.finish(_end(parts, target.count, lost))
    if rejects is not None and refused:
        write_file(rejects, refused, stage=refused[0].stage, run="rejects")
    messages("info", f"{target.count} records of {len(parts)} shards" + (f", {lost} rejected" if lost else ""))
    return ExitCode.REJECTS if lost else ExitCode.DONE


def _identifiers(file: Path) -> Iterator[str | None]:
    """The id of each usable record of the input in order, and None for each line that is none."""
    source = open_file(file, get_args(AnyRecord), "")
    bad = 0

    def count(_line: int, _identifier: str | None, _error: RecordError) -> None:
        nonlocal bad
        bad += 1

    with source.stream:
        for record in RecordReader(source.stream, source.name, source.accept, count):
            yield getattr(record, "id", None)
    yield from [None] * bad


def _end(parts: list[Part], records: int, lost: int) -> End:
    """The end record of the whole run; every count must come out."""
    left = next((part.name for part in parts if part.head is not None), None)
    if left is not None:
        raise BadInputError(f"{left} holds records that INPUT has not, or in another order: it is not of this input")
    ends = [part.end for part in parts]
    first = ends[0]
    for part, end in zip(parts, ends, strict=True):
        if (end.stage, end.run) != (first.stage, first.run):
            raise BadInputError(f"{part.name} and {parts[0].name} were made with other settings, or from other inputs")
    rejected = sum(end.rejected for end in ends)
    if rejected != lost:
        raise BadInputError(
            f"{lost} records of INPUT are in no shard, but the shards rejected {rejected}: one is missing"
        )
    return End(stage=first.stage, run=first.run, records=records, rejected=rejected)


def _refused(shards: list[Path]) -> list[Reject]:
    """What the shards rejected, by line of the input."""
    found: list[Reject] = []
    for path in shards:
        beside = path.with_name(path.name + REJECTS)
        if beside.exists():
            found += read_file(beside, Reject)
    return sorted(found, key=lambda one: one.line)
