"""``medpo import probes``: paired yes/no cases made of reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpo_cli.cli.foreign import Rejects, output_to
from medpo_cli.cli.inputs import open_file
from medpo_cli.cli.progress import make_progress, stop
from medpo_cli.errors import BadInputError, ExitCode
from medpo_cli.io.context import Context
from medpo_cli.io.log import Messages
from medpo_cli.io.paths import prefix_between, rebase
from medpo_cli.io.stdout import guard_stdout
from medpo_cli.io.stream import RecordReader
from medpo_cli.schema.records import Case, End


def run(
    file: Path,
    output: str,
    rejects: Path | None,
    options: dict[str, Any],
    *,
    lexicon: Path | None,
    on_bad: str,
    force: bool,
) -> ExitCode:
    """Make probes of the reports in ``file``; see ``stages.probes``."""
    from medpo_cli.stages import probes
    from medpo_cli.text.lexicon import load_lexicon

    words = load_lexicon(lexicon)
    stdout = guard_stdout()
    messages = Messages("import")
    source = open_file(file, (Case,), "")
    taken = Rejects("import", source.name, messages, rejects, fail=on_bad == "fail")
    reader = RecordReader(source.stream, source.name, source.accept, taken.take)
    progress = make_progress(messages)
    context = Context(
        file.parent, reject=lambda name, error: taken.take(reader.line_of(name), name, error), progress=progress
    )
    prefix = prefix_between(file.parent, Path() if output in ("", "-") else Path(output).parent)
    if prefix is None:
        messages("warning", "image paths stay relative to the input's folder: the next stage needs it as --root")
    target = output_to(output, stdout, force=force)
    reports = 0

    def cases() -> Iterator[Case]:
        nonlocal reports
        for record in reader:
            if isinstance(record, Case):
                reports += record.task == "report"
                yield record

    try:
        with source.stream:
            made = probes.run(cases(), probes.Settings(**options), words, context)
            for record in made:
                target.write(rebase(record, prefix or ""))
        if not reports:
            raise BadInputError(f"{source.name} holds no case with task report: probes are made of reports")
        target.finish(End(stage="import", run=reader.sha256[:16], records=target.count, rejected=taken.count))
    finally:
        stop(progress)
        target.close()
    taken.close()
    if not reader.complete:
        messages("warning", f"{source.name} ends without an end record (written by hand, or cut off?)")
    told = f", {taken.count} rejected" if taken.count else ""
    messages("info", f"{target.count} records: {target.count // 2} pairs of {reports} reports{told}")
    return taken.code
