"""``medpo import`` and ``medpo export``: rows of other tools in, rows of other tools out."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from medpo_cli.cli.inputs import open_file
from medpo_cli.cli.progress import make_progress, stop
from medpo_cli.errors import BadInputError, CannotCreateError, ExitCode, NoInputError, RecordError, UsageError
from medpo_cli.io.context import Context
from medpo_cli.io.files import atomic_path, sha256_file
from medpo_cli.io.log import Messages, plain
from medpo_cli.io.output import FileOutput, Output
from medpo_cli.io.paths import prefix_between, rebase
from medpo_cli.io.stdout import guard_stdout
from medpo_cli.io.stream import RecordReader
from medpo_cli.schema.records import End, Pair, Reject

SHOWN = 20


class Rejects:
    """Counts what could not be used, says the first ones, and writes reject records if a file is named."""

    def __init__(self, command: str, source: str, messages: Messages, target: Path | None, *, fail: bool) -> None:
        self.count = 0
        self._command, self._source, self._messages, self._fail = command, source, messages, fail
        self._output = FileOutput(target, force=True) if target else None

    def take(self, line: int, identifier: str | None, error: RecordError) -> None:
        """One more."""
        where = f"{self._source}: row {line}{f' {error.path}' if error.path else ''}: {error.message}"
        if self._fail:
            raise BadInputError(where)
        self.count += 1
        if self.count <= SHOWN:
            self._messages("warning", where)
        elif self.count == SHOWN + 1:
            self._messages("warning", "further rejects are counted, not shown")
        if self._output is not None:
            self._output.write(
                Reject(
                    stage=self._command, source=self._source, line=line, id=identifier, path=error.path,
                    code=error.reason, message=error.message,
                )
            )  # fmt: skip

    def close(self) -> None:
        """Finish the file."""
        if self._output is not None:
            self._output.finish(End(stage=self._command, run="rejects", records=self.count, rejected=0))

    @property
    def code(self) -> ExitCode:
        """DONE, or REJECTS if something was left out."""
        return ExitCode.REJECTS if self.count else ExitCode.DONE


def run_import(
    name: str, file: Path, output: str, images: str, rejects: Path | None, *, on_bad: str, force: bool
) -> ExitCode:
    """Import ``file``; see ``stages.foreign.importing``."""
    from medpo_cli.stages.foreign.importing import FORMATS, run
    from medpo_cli.stages.foreign.rows import rows

    if name not in FORMATS:
        raise UsageError(f"no format of this name; there are: {', '.join(FORMATS)}")
    stdout = guard_stdout()
    messages = Messages("import")
    taken = Rejects("import", plain(file.name), messages, rejects, fail=on_bad == "fail")
    place = 0

    def counted() -> Iterator[tuple[int, Any]]:
        nonlocal place
        for number, row in rows(file):
            place = number
            yield number, row

    progress = make_progress(messages)
    context = Context(file.parent, reject=lambda name, error: taken.take(place, name, error), progress=progress)
    prefix = prefix_between(file.parent, Path() if output in ("", "-") else Path(output).parent)
    if prefix is None:
        messages("warning", "image paths stay relative to the input's folder: the next stage needs it as --root")
    target = output_to(output, stdout, force=force)
    try:
        for record in run(counted(), name, context, images=images):
            target.write(rebase(record, prefix or ""))
        digest = sha256_file(file)
        target.finish(End(stage="import", run=digest[:16], records=target.count, rejected=taken.count))
    finally:
        stop(progress)
        target.close()
    taken.close()
    messages("info", f"{target.count} records" + (f", {taken.count} rejected" if taken.count else ""))
    return taken.code


def run_dicom(
    folder: Path, output: str, key: Path | None, rejects: Path | None, options: dict[str, Any], *, on_bad: str
) -> ExitCode:
    """Import a folder of DICOM files; see ``stages.foreign.dicom_folder``. The folder's own name is never said."""
    from medpo_cli.io.pseudonyms import load_key
    from medpo_cli.stages.foreign.dicom_folder import FileError, Settings, run

    settings = Settings(**options)
    if not folder.is_dir():
        raise NoInputError("FOLDER is not a folder")
    if Path(settings.images).is_absolute() or ".." in Path(settings.images).parts:
        raise UsageError("--images: a folder below the output's folder")
    stdout = guard_stdout()
    messages = Messages("import")
    taken = Rejects("import", "dicom", messages, rejects, fail=on_bad == "fail")
    root = Path() if output in ("", "-") else Path(output).parent
    if root.resolve().is_relative_to(folder.resolve()):
        raise UsageError("-o: the records and images must not be written into FOLDER itself")
    secret = load_key(key or default_key(), [folder, root / settings.images])
    progress = make_progress(messages)

    def reject(name: str | None, error: RecordError) -> None:
        taken.take(error.number if isinstance(error, FileError) else 0, name, error)

    target = output_to(output, stdout, force=settings.force)
    digest = hashlib.sha256()
    try:
        for record in run(folder, secret, settings, Context(root, reject=reject, progress=progress)):
            digest.update(record.id.encode())
            target.write(record)
        end = End(stage="import", run=digest.hexdigest()[:16], records=target.count, rejected=taken.count)
        target.finish(end)
    finally:
        stop(progress)
        target.close()
    taken.close()
    messages("info", f"{target.count} records" + (f", {taken.count} rejected" if taken.count else ""))
    return taken.code


def default_key() -> Path:
    """Where the key of ``import dicom`` lies without ``--key``: in the user's configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "medpo" / "import.key"


def run_export(name: str, file: Path, output: str, root: Path | None, *, drop_spans: bool, force: bool) -> ExitCode:
    """Export pairs; see ``stages.foreign.exporting``."""
    from medpo_cli.stages.foreign.exporting import EXPORTS, KEEPS_SPANS

    if name not in EXPORTS:
        raise UsageError(f"no format of this name; there are: {', '.join(EXPORTS)}")
    if name not in KEEPS_SPANS and not drop_spans:
        raise UsageError(f"{name} has no place for spans: --drop-spans gives them up (fire-mpo keeps them)")
    stdout = guard_stdout()
    messages = Messages("export")
    source = open_file(file, (Pair,), str(root or ""))
    taken = Rejects("export", source.name, messages, None, fail=False)
    reader = RecordReader(source.stream, source.name, source.accept, taken.take)
    lines = _lines(reader, EXPORTS[name], taken)
    count = _write_lines(lines, output, stdout, force=force)
    if not reader.complete:
        messages("warning", f"{source.name} ends without an end record (written by hand, or cut off?)")
    messages("info", f"{count} rows" + (f", {taken.count} rejected" if taken.count else ""))
    return taken.code


def _lines(reader: RecordReader, shape: Callable[[Pair], dict[str, Any]], taken: Rejects) -> Iterator[bytes]:
    for record in reader:
        if not isinstance(record, Pair):
            continue
        try:
            row = shape(record)
        except RecordError as error:
            taken.take(reader.line, record.id, error)
            continue
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _write_lines(lines: Iterable[bytes], output: str, stdout: BinaryIO, *, force: bool) -> int:
    """Rows to a file that appears when it is whole, or to standard output; returns how many."""
    if output in ("", "-"):
        return sum(1 for line in lines if stdout.write(line) and stdout.flush() is None)
    target = Path(output)
    if target.exists() and not force:
        raise CannotCreateError(f"{target.name} exists: --force replaces it")
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        return sum(1 for line in lines if stream.write(line))


def output_to(output: str, stdout: BinaryIO, *, force: bool) -> Output:
    """Records to a file that appears when it is whole, or to standard output."""
    if output in ("", "-"):
        return Output(stdout, "standard output")
    return FileOutput(Path(output), force=force)
