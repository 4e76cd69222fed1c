"""One run of one stage: opens what it reads and writes, counts, and leaves a manifest.

The stages themselves know nothing of files, signals or terminals: they are generators over records.
"""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from medpo_cli.cli.inputs import Source, records_in
from medpo_cli.cli.progress import make_progress, stop
from medpo_cli.cli.rejects import RejectFile
from medpo_cli.cli.settings import Resolved
from medpo_cli.cli.signals import SignalledError, check
from medpo_cli.cli.tally import Tally
from medpo_cli.errors import BadInputError, ExitCode, MedpoError, OutputError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.files import remove_leftovers
from medpo_cli.io.log import Messages
from medpo_cli.io.manifest import Manifest, config_digest, run_id
from medpo_cli.io.output import REJECTS, FileOutput, Output
from medpo_cli.io.paths import prefix_between, rebase
from medpo_cli.io.rank import is_follower
from medpo_cli.io.shard import Shard
from medpo_cli.io.stream import RecordReader, describe
from medpo_cli.schema.records import End, Record, Reject

_SHOWN_REJECTS = 20


class Session:
    """Surroundings of a stage run on the command line.

    Attributes:
        context: what the stage gets.
        records: input records, rebased to the output's root, for the stage to iterate.
        tally: what was written, for the summary at the end.
        together: records that the stage works on at once.
        manifest: facts for OUT.run.json; stages' commands may add to ``manifest.facts``.
    """

    def __init__(self, name: str, settings: Resolved[Any], source: Source, messages: Messages) -> None:
        self.name = name
        self.settings = settings
        self.stream = settings.stream
        self.messages = messages
        self.source = source
        self.rejected = 0
        self.tally = Tally(name)
        self._codes: Counter[str] = Counter()
        beside = settings.output not in ("", "-")
        self._rejects = RejectFile(self._rejects_path(), name, beside=beside)
        self._output_root = Path(self.stream.root) if self.stream.root else self._natural_root()
        self._prefix = self._path_prefix()
        self.progress = make_progress(messages)
        limit = self.stream.max_minutes
        self.context = Context(
            self._output_root,
            reject=self._reject_in_stage,
            progress=self.progress,
            allow_outside=self.stream.allow_outside,
            deadline=time.monotonic() + 60 * limit if limit else None,
        )
        self.together = int(getattr(settings.stage, "cases_together", 1))
        self._shard = Shard.named(getattr(settings.stage, "shard", ""), self.together)
        expected = records_in(source.stream)
        self.context.expected = None if expected is None else -(-expected // self._shard.total)
        self._arrived = 0
        self._reader = RecordReader(source.stream, source.name, source.accept, self._reject_while_reading)
        config = msgspec.to_builtins(settings.stage)
        # All shards of a run, and the run in one piece, bear the same name.
        self._run_digest = config_digest(config | {"shard": ""} if "shard" in config else config)
        self.manifest = Manifest(name, sys.argv[1:], config, self._output_root)

    def _natural_root(self) -> Path:
        """Where the output stands: the folder of ``-o``, or the current one for a pipe."""
        to_file = self.settings.output not in ("", "-") and self.name not in ("align", "eval")
        target = Path(self.settings.output).parent if to_file else Path()
        if self.name in ("align", "eval") or prefix_between(self.source.root, target) is None:
            return self.source.root
        return target

    def _path_prefix(self) -> str:
        if self.stream.root:
            return ""
        return prefix_between(self.source.root, self._output_root) or ""

    @property
    def records(self) -> Iterator[Any]:
        """The usable input records; raises BadInputError if ``--require-end`` is not met."""
        for record in self._reader:
            mine = self._shard.holds(self._arrived)
            self._arrived += 1
            if mine:
                yield rebase(record, self._prefix)
        if not self._reader.complete:
            cause = f"{self.source.name} ends without an end record after line {self._reader.line}"
            if self.stream.require_end:
                raise BadInputError(f"{cause}: it was cut off")
            self.messages("warning", f"{cause} (written by hand, or cut off? --require-end refuses it)")

    def where(self, identifier: str) -> str:
        """``cases.jsonl:17 (id 3f2a)``."""
        return f"{self.source.name}:{self._reader.line_of(identifier)} (id {identifier})"

    # --- bad records -------------------------------------------------------------------------

    def _reject_while_reading(self, line: int, identifier: str | None, error: RecordError) -> None:
        """A line that is no usable record is counted by one shard: that of the next usable one."""
        if self._shard.holds(self._arrived):
            self._reject(line, identifier, error)

    def _reject_in_stage(self, identifier: str | None, error: RecordError) -> None:
        self._reject(self._reader.line_of(identifier), identifier, error)

    def _reject(self, line: int, identifier: str | None, error: RecordError) -> None:
        text = describe(self.source.name, line, identifier, error)
        if self.stream.on_bad == "fail":
            raise BadInputError(text)
        self.rejected += 1
        self._codes[error.reason] += 1
        if self.rejected <= _SHOWN_REJECTS:
            self.messages("warning", text)
        elif self.rejected == _SHOWN_REJECTS + 1:
            self.messages("warning", "further rejects are counted, not shown")
        self._rejects.write(
            Reject(
                stage=self.name,
                source=self.source.name,
                line=line,
                id=identifier,
                path=error.path,
                code=error.reason,
                message=error.message,
            )
        )

    def _rejects_path(self) -> Path | None:
        target = self.stream.rejects
        if not target and self.settings.output not in ("", "-"):
            target = self.settings.output.rstrip("/") + REJECTS
        return None if not target or self.stream.dry_run or is_follower() else Path(target)

    # --- running -----------------------------------------------------------------------------

    def begin(self, manifest: Path | None) -> None:
        """Mark the run as under way, so that ``--resume`` can compare settings even after kill -9."""
        if manifest is not None:
            remove_leftovers(manifest.parent, manifest.name)
            self.manifest.write(manifest)

    def pump(self, records: Iterable[Record], output: Output) -> None:
        """Write a stage's records; stop with the state saved when the time is over."""
        for record in records:
            self.write(record, output)
            check()
            if self.context.out_of_time():
                self.context.check_time()

    def write(self, record: Record, output: Output) -> None:
        """Write and count one record."""
        output.write(record)
        self.tally.add(record)

    def summarize(self, headline: str) -> None:
        """Say at the end of a stage what it made."""
        lost = f", {self.rejected} rejected" if self.rejected else ""
        self.messages("info", f"{headline}{lost}, {self.tally.speed(self._arrived)}")
        for line in self.tally.lines():
            self.messages("info", line)

    def end(self, output: Output) -> End:
        """The end record of this run; its run id is the same for the same input and settings."""
        run = run_id(self.name, self._run_digest, self._reader.sha256)
        return End(stage=self.name, run=run, records=output.count, rejected=self.rejected)

    def close(self, manifest: Path | None, code: int, **facts: Any) -> None:
        """Finish rejects and manifest, free the terminal."""
        stop(self.progress)
        codes = dict(sorted(self._codes.items(), key=lambda item: (-item[1], item[0])))
        if codes:
            self.messages("info", "rejected: " + ", ".join(f"{code}: {count}" for code, count in codes.items()))
        try:
            leave = self._rejects.finish if code in (ExitCode.DONE, ExitCode.REJECTS) else self._rejects.close
            leave(self.rejected)
        except MedpoError as error:
            code = error.code
            raise
        finally:
            if manifest is not None:
                counted = {"input_sha256": self._reader.sha256, "rejected": self.rejected, "reject_codes": codes}
                self.manifest.finish(manifest, code, **self.context.facts, **counted, **facts)

    def exit_code(self) -> ExitCode:
        """DONE, or REJECTS if a record was skipped."""
        return ExitCode.REJECTS if self.rejected else ExitCode.DONE


@contextlib.contextmanager
def closing(session: Session, manifest: Path | None, output: Output | None) -> Iterator[None]:
    """Leave a manifest and a clean terminal however the run ends."""
    code: int = ExitCode.INTERNAL
    try:
        yield
        code = session.exit_code()
    except MedpoError as error:
        code = error.code
        raise
    except SignalledError as error:
        code = 128 + error.number
        raise
    finally:
        facts = {} if output is None else {"records": output.count, "output_sha256": output.sha256}
        if output is not None:
            output.close()
        session.close(manifest, code, **facts)


def open_output(settings: Resolved[Any], stdout: Callable[[], BinaryIO]) -> Output:
    """The record output of a stage: ``-o FILE`` or standard output.

    Raises:
        CannotCreateError, TryLaterError: as FileOutput.
    """
    if settings.output in ("", "-"):
        return Output(stdout(), "standard output")
    try:
        return FileOutput(Path(settings.output), force=settings.stream.force, resume=settings.stream.resume)
    except OSError as error:
        raise OutputError("the output cannot be opened") from error
