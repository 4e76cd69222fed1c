"""How every stage command runs: settings, lock, input, session, output, exit code."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from medpo_cli.cli import inputs, runtime, signals
from medpo_cli.cli.options import with_settings
from medpo_cli.cli.resume import Kept, resumed
from medpo_cli.cli.session import Session, closing, open_output
from medpo_cli.cli.settings import Resolved, resolve
from medpo_cli.errors import ConfigError, ExitCode, UsageError
from medpo_cli.io.lock import hold, named_lock_path
from medpo_cli.io.log import Messages
from medpo_cli.io.manifest import read_digest
from medpo_cli.io.output import FileOutput, Output
from medpo_cli.io.rank import is_follower, is_launched
from medpo_cli.io.stdout import guard_stdout
from medpo_cli.schema.config import Settings
from medpo_cli.schema.records import Record

Execute = Callable[["Stage", Session, Any, Callable[[], BinaryIO]], ExitCode]
Generator = Callable[[Iterator[Any]], Iterator[Record]]
Groups = Callable[[Iterator[list[Any]]], Iterator[Record]]


@dataclass(frozen=True)
class Stage:
    """What distinguishes one stage command from the next.

    Attributes:
        accept: kinds of record it reads, given its settings.
        execute: does the run: (stage, session, settings, standard output) → exit code.
        default_input: where to read when nothing is given; None means there is no default.
        prepare: turns the user's settings into those the stage gets (the embedded demo model).
        default_output: ``-o`` when it is not given.
        output: help of ``-o``.
        processes: it may run in several processes, which work on one result.
    """

    name: str
    config: type[Settings]
    accept: Callable[[Any], tuple[type[Record], ...]]
    execute: Execute
    default_input: Callable[[Any, Messages], Path | None] = lambda _settings, _messages: None
    prepare: Callable[[Any, Messages], Any] = lambda settings, _messages: settings.stage
    default_output: str = ""
    output: str = "write records to this file (atomically) instead of standard output"
    processes: bool = False


def command(stage: Stage, help_text: str) -> Callable[..., None]:
    """The typer command of a stage."""

    def body(flags: dict[str, Any]) -> None:
        run(stage, flags)

    body.__doc__ = help_text
    return with_settings(body, stage.name, stage.config, output=stage.output)


def run(stage: Stage, flags: dict[str, Any]) -> NoReturn:
    """Run a stage from its flags and leave the process."""
    debug = bool(flags.pop("debug", None))
    signals.install()
    stdout = guard_stdout()
    messages = Messages(stage.name)

    def say(text: str) -> None:
        messages("error", text)

    def body() -> ExitCode:
        nonlocal messages
        printing, config = flags.pop("print_config", None), flags.pop("config", None)
        settings = resolve(stage.name, stage.config, flags, config)
        settings.output = settings.output or stage.default_output
        if printing:
            stdout.write(("\n".join(settings.lines()) + "\n").encode())
            stdout.flush()
            return ExitCode.DONE
        stream = settings.stream
        log = Path(stream.log_file) if stream.log_file else None
        messages = Messages(stage.name, quiet=stream.quiet, log_file=log, as_json=stream.log_json)
        lock = bool(stream.lock) and not is_follower()
        with hold(named_lock_path(stream.lock), "lock") if lock else contextlib.nullcontext():
            return _locked(stage, settings, messages, stdout)

    runtime.finish(stage.name, body, say, debug=debug)


def _locked(stage: Stage, settings: Resolved[Any], messages: Messages, stdout: BinaryIO) -> ExitCode:
    if is_launched() and not stage.processes:
        raise UsageError(f"{stage.name} runs in one process; several are for align")
    source = _source(stage, settings, messages)
    if source is None:
        messages("error", str(inputs.missing_input(stage.name)))
        messages("error", f"try: medpo {stage.name} --help")
        return ExitCode.USAGE
    session = Session(stage.name, settings, source, messages)
    if settings.stream.dry_run:
        return _dry_run(session)
    return stage.execute(stage, session, stage.prepare(settings, messages), lambda: stdout)


def _source(stage: Stage, settings: Resolved[Any], messages: Messages) -> inputs.Source | None:
    """INPUT, else a pipe, else the configured input, else the stage's default."""
    root, accept = settings.stream.root, stage.accept(settings.stage)
    given = settings.input
    from_flag = settings.sources["input"] == "input"
    piped = not is_launched()  # of several processes each would read a part
    if given == "-" and not piped:
        raise UsageError("several processes cannot share standard input: name the input file")
    if given == "-":
        return inputs.open_stdin(accept, root)
    if piped and not from_flag and inputs.stdin_is_data() and inputs.stdin_has_bytes():
        return inputs.open_stdin(accept, root)
    path = Path(given) if given else stage.default_input(settings, messages)
    if path is not None:
        return inputs.open_file(path, accept, root)
    return inputs.open_stdin(accept, root) if piped and inputs.stdin_is_data() else None


def _dry_run(session: Session) -> ExitCode:
    with closing(session, None, None):
        count = sum(1 for _ in session.records)
        session.messages("info", f"dry run: {count} records can be used, {session.rejected} cannot; nothing written")
        return session.exit_code()


def to_records(
    session: Session,
    work: Generator,
    stdout: Callable[[], BinaryIO],
    *,
    kept: Kept | None = None,
    groups: Groups | None = None,
) -> ExitCode:
    """The common execution: records in, records out.

    Args:
        session: the run.
        work: the stage's generator over the input records.
        stdout: where records go without ``-o``.
        kept: on ``--resume`` pass over what is finished, if this much of it is as it was. Without it
            (stages that remember earlier records) redo everything and drop what is already written.
        groups: ``work`` for records that are in groups already, of a stage that works on several at once.
    """
    settings = session.settings
    manifest = manifest_path(settings)
    check_resumable(settings, session, manifest)
    output = open_output(settings, stdout)
    with closing(session, manifest, output):
        session.begin(manifest)
        groups = groups or (lambda many: work(chain.from_iterable(many)))
        session.pump(_behind(session, work, groups, output, kept), output)
        output.finish(session.end(output))
        session.summarize(f"{output.count} records")
        return session.exit_code()


def _behind(session: Session, work: Generator, groups: Groups, output: Output, kept: Kept | None) -> Iterator[Record]:
    if not isinstance(output, FileOutput) or not output.count:
        return work(session.records)
    session.messages("info", f"resuming behind {output.count} finished records")
    if kept is None:
        return output.replay(work(session.records))
    if session.context.expected is not None:
        session.context.expected = max(0, session.context.expected - output.count)
    return resumed(session.records, groups, output, kept, where=session.where, together=session.together)


def manifest_path(settings: Resolved[Any]) -> Path | None:
    """OUT.run.json, or ``--manifest``, or None for a pipe."""
    if settings.stream.manifest:
        return Path(settings.stream.manifest)
    return None if settings.output in ("", "-") else Path(settings.output.rstrip("/") + ".run.json")


def check_resumable(settings: Resolved[Any], session: Session, manifest: Path | None) -> None:
    """Raise ConfigError if ``--resume`` would mix records of two configurations."""
    if not settings.stream.resume:
        return
    if manifest is None:
        raise ConfigError("--resume needs -o FILE")
    earlier = read_digest(manifest)
    output, part = Path(settings.output), Path(settings.output + ".part")
    # A run killed before its manifest leaves an empty part, which any settings may go on with.
    started = output.exists() or (part.exists() and part.stat().st_size > 0)
    if started and earlier != session.manifest.digest:
        raise ConfigError(f"cannot resume: {manifest.name} is missing or was made with other settings")


def plain(name: str, body: Callable[[], ExitCode], *, debug: bool = False) -> NoReturn:
    """Run a command that is not a stage under the same error and signal rules."""
    signals.install()
    messages = Messages(name)
    runtime.finish(name, body, lambda text: messages("error", text), debug=debug)
