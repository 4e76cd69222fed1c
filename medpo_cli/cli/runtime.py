"""The one place where errors and signals become exit codes."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from medpo_cli.cli import signals
from medpo_cli.errors import ExitCode, MedpoError
from medpo_cli.io.files import translate_os_error
from medpo_cli.io.output import ReaderGoneError
from medpo_cli.io.stdout import silence_broken_pipe


def finish(stage: str, body: Callable[[], ExitCode], say: Callable[[str], None], *, debug: bool) -> NoReturn:
    """Run ``body`` and leave the process with the contract's exit code.

    Args:
        stage: for messages.
        body: the work; returns DONE or REJECTS.
        say: prints one error line.
        debug: print where internal errors came from, frame by frame; what they say may quote a record and is left out.
    """
    code = int(ExitCode.INTERNAL)
    # Where the last line cannot be said (log file or standard error full), the exit code still tells.
    say = _whatever_happens(say)
    try:
        code = int(body())
    except ReaderGoneError as error:
        silence_broken_pipe()
        code = int(error.code)
    except signals.SignalledError as error:
        say(f"stopped by {signal.Signals(error.number).name}")
        code = 128 + error.number
    except MedpoError as error:
        say(str(error))
        code = int(error.code)
    except MemoryError:
        say("out of memory; try a smaller --batch")
        code = int(ExitCode.TRY_LATER)
    except BrokenPipeError:
        silence_broken_pipe()
        code = int(ExitCode.SIGPIPE)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # libraries in Rust panic past Exception
        known = _from_the_system(error)
        say(str(known) if known else _bug(error))
        code = int(known.code if known else ExitCode.INTERNAL)
        if debug:
            sys.stderr.write(_trace(error))
    _leave(code)


def _whatever_happens(say: Callable[[str], None]) -> Callable[[str], None]:
    def quiet(text: str) -> None:
        with contextlib.suppress(OSError, MedpoError):
            say(text)

    return quiet


def _from_the_system(error: BaseException) -> MedpoError | None:
    """A disk, stream or folder that failed where nothing waited for it; that is no bug of ours."""
    if not isinstance(error, OSError) or not error.errno:
        return None
    return translate_os_error(error, f"at {_place(error)}")


def _bug(error: BaseException) -> str:
    """Where an unexpected error arose; its text is left out because it may quote a record."""
    kind = type(error).__name__
    return f"internal error (a bug in medpo): {kind} at {_place(error)}; --debug shows the traceback"


def _trace(error: BaseException | None) -> str:
    """Frames and kinds of an error and of those it came from, latest last, without their texts."""
    if error is None:
        return ""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{_trace(earlier)}Traceback (most recent call last):\n{frames}{type(error).__name__}\n"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "medpo_cli" in frame.filename] or frames
    return f"{os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else "unknown"


def _leave(code: int) -> NoReturn:
    """Flush and exit; a reader that has gone must not turn the code into 120."""
    signals.ignore()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        silence_broken_pipe()
    raise SystemExit(code)
