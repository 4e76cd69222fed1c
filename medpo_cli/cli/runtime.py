"""The one place where errors and signals become exit codes."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from medpo_cli.errors import ExitCode, MedpoError
from medpo_cli.io.output import ReaderGoneError
from medpo_cli.io.stdout import silence_broken_pipe


class SignalledError(BaseException):
    """A signal asked the process to end; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install_signal_handlers() -> None:
    """SIGINT, SIGTERM and SIGHUP unwind the stack once; a second one ends the process at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, _end_now)
        raise SignalledError(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup and cron start processes that ignore SIGHUP: keep it so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _end_now(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def finish(stage: str, body: Callable[[], ExitCode], say: Callable[[str], None], *, debug: bool) -> NoReturn:
    """Run ``body`` and leave the process with the contract's exit code.

    Args:
        stage: for messages.
        body: the work; returns DONE or REJECTS.
        say: prints one error line.
        debug: print the traceback of internal errors (never done otherwise: locals hold patient text).
    """
    code = int(ExitCode.INTERNAL)
    try:
        code = int(body())
    except ReaderGoneError as error:
        silence_broken_pipe()
        code = int(error.code)
    except SignalledError as error:
        say(f"stopped by {signal.Signals(error.number).name}")
        code = 128 + error.number
    except MedpoError as error:
        say(str(error))
        code = int(error.code)
    except MemoryError:
        say("out of memory; try a smaller --batch")
        code = int(ExitCode.TRY_LATER)
    except Exception as error:
        say(_bug(error))
        if debug:
            traceback.print_exc(file=sys.stderr)
    _leave(code)


def _bug(error: Exception) -> str:
    """Where an unexpected error arose; its text is left out because it may quote a record."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "medpo_cli" in frame.filename] or frames
    place = f"{os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else "unknown"
    return f"internal error (a bug in medpo): {type(error).__name__} at {place}; --debug shows the traceback"


def _leave(code: int) -> NoReturn:
    """Flush and exit; a reader that has gone must not turn the code into 120."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        silence_broken_pipe()
    raise SystemExit(code)
