"""``medpo`` in a fork of the test process: all of a real command but the seconds that its imports take."""

import atexit
import importlib
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IMPORTS = [
    "jsonlines", "peft", "medpo_cli.cli.main", "medpo_cli.cli.stages", "medpo_cli.cli.helpers",
    "medpo_cli.training.fit",
    *(f"medpo_cli.stages.{name}" for name in ("sample", "edit", "masks", "corrupt", "align", "eval")),
]  # fmt: skip


def load() -> None:
    """Import once what every command would import again."""
    for name in IMPORTS:
        importlib.import_module(name)


@dataclass
class Forked:
    """A command under way in ``folder``.

    Attributes:
        pid: of its process.
        folder: where it runs, and where its streams are kept as ``stdout`` and ``stderr``.
    """

    pid: int
    folder: Path

    def wait(self) -> int:
        """Its exit code; negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()


def start(
    folder: Path, words: list[str], *, stdin: int | None = None, stdout: int | None = None,
    prepare: Callable[[], None] = lambda: None, largest_file: int = 0,
) -> Forked:  # fmt: skip
    """Run ``medpo words`` in ``folder``.

    Args:
        folder: the current folder.
        words: what follows the name of the program.
        stdin: file descriptor; default: nothing to read.
        stdout: file descriptor; default: the file ``stdout``.
        prepare: called in the new process first, for what a test puts in the place of something.
        largest_file: bytes that a file may grow to (0: no limit); writing more is the error that a full disk is.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Forked(pid, folder)
    code = 99
    try:
        os.chdir(folder)
        _streams(stdin, stdout)
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        prepare()
        code = _main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _streams(stdin: int | None, stdout: int | None) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null if stdin is None else stdin, 0)
    os.dup2(os.open("stdout", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600) if stdout is None else stdout, 1)
    os.dup2(os.open("stderr", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), 2)
    os.closerange(3, 256)
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, "w", closefd=False), open(2, "w", closefd=False)


def _main(words: list[str]) -> int:
    from medpo_cli.cli.main import main

    sys.argv = ["medpo", *words]
    try:
        main()
    except SystemExit as leaving:
        atexit._run_exitfuncs()
        return int(leaving.code or 0)
    return 0


def run(folder: Path, words: list[str], **how: object) -> tuple[int, str]:
    """Run it to its end: exit code and standard error."""
    process = start(folder, words, **how)  # type: ignore[arg-type]
    return process.wait(), process.err


def wait_for(found: Callable[[], bool]) -> None:
    """Until something is there; a test that waits for ever is ended by its time limit."""
    while not found():
        time.sleep(0.005)
