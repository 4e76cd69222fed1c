"""OUT.rejects.jsonl: the records that an output lacks, beside it and of the same run."""

import fcntl
from pathlib import Path

from medpo_cli.errors import RecordError
from medpo_cli.io.files import translate_os_error
from medpo_cli.io.output import FileOutput, write_file
from medpo_cli.io.stream import decode, read_file
from medpo_cli.schema.records import End, Reject

_LONGEST = 1 << 16


class RejectFile:
    """The reject records of one run.

    The file is opened at the first reject and takes the place of an earlier run's when the output has taken the
    place of an earlier output. A run that ends before leaves both as they were, and what it had as ``NAME.part``,
    which the next run makes anew: it meets the same bad records again.

    They stand in the order of the input, however far a stage reads ahead of what it works on.

    Args:
        path: the file; None: nobody asked for one.
        stage: whose rejects these are.
        beside: they belong to an output file. Those of a pipe stand however the run ends.
    """

    def __init__(self, path: Path | None, stage: str, *, beside: bool) -> None:
        self._path, self._stage, self._beside = path, stage, beside
        self._output: FileOutput | None = None
        self._last, self._ordered = 0, True

    def write(self, reject: Reject) -> None:
        """Keep one.

        Raises:
            CannotCreateError, TryLaterError, OutputError: as FileOutput.
        """
        if self._path is None:
            return
        if self._output is None:
            self._output = FileOutput(self._path, force=True)
        self._output.write(reject)
        self._ordered &= reject.line >= self._last
        self._last = reject.line

    def finish(self, count: int) -> None:
        """The output stands: so do its rejects; where there are none, none of an earlier run stay.

        Raises:
            OutputError, CannotCreateError: the disk is full, or the old file cannot be removed.
        """
        if self._output is not None and not self._ordered:
            self._output.close()
            ordered = sorted(read_file(self._output.part, Reject), key=lambda reject: reject.line)
            write_file(self._output.path, ordered, stage=self._stage, run="rejects")
        elif self._output is not None:
            self._output.finish(End(stage=self._stage, run="rejects", records=count, rejected=0))
        elif self._path is not None:
            for old in (self._path, self._path.with_name(self._path.name + ".part")):
                self._remove(old)

    def close(self, count: int) -> None:
        """The run has ended before its output was whole."""
        if self._output is not None and not self._beside:
            self.finish(count)
        elif self._output is not None:
            self._output.close()

    def _remove(self, old: Path) -> None:
        """Remove what this stage wrote; a file of anything else that ``--rejects`` names is not ours to remove."""
        try:
            with old.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                first = stream.readline(_LONGEST)
                if self._is_ours(first):
                    old.unlink()
        except (FileNotFoundError, BlockingIOError):
            return
        except OSError as error:
            raise translate_os_error(error, old.name) from error

    def _is_ours(self, line: bytes) -> bool:
        try:
            record = decode(line)
        except RecordError:
            return not line
        return isinstance(record, Reject | End) and record.stage == self._stage
