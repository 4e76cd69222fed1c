"""Signals that ask the process to end: they unwind the stack once, wherever it stands."""

import os
import signal
import sys
from types import FrameType

from medpo_cli.io import ending

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.05
"""Seconds after which a signal that was lost in a callback is sent again."""

_asked: list[int] = []


class SignalledError(BaseException):
    """A signal asked the process to end; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install() -> None:
    """SIGINT, SIGTERM and SIGHUP unwind the stack once; a second one ends the process at once."""
    for number in ENDING:
        # nohup and cron start processes that ignore SIGHUP: keep it so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)
    sys.unraisablehook = _lost


def check() -> None:
    """Raise SignalledError if a signal has come and C code or a callback lost it: for loops over records."""
    if _asked:
        raise SignalledError(_asked[0])


def ignore() -> None:
    """The outcome stands: a signal during the interpreter's own clean-up would only print a traceback."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _unwind(number: int, _frame: FrameType | None) -> None:
    for other in ENDING:
        if signal.getsignal(other) is _unwind:
            signal.signal(other, _end_now)
    _asked[:] = [number]
    ending.tell()
    raise SignalledError(number)


def _end_now(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised in a destructor or a weak reference's callback (each import has one)."""
    error = unraisable.exc_value
    if not isinstance(error, SignalledError):
        sys.__unraisablehook__(unraisable)
        return
    from threading import Timer, main_thread

    signal.signal(error.number, _unwind)
    # To the main thread, which may be waiting: the system call must end, too.
    again = Timer(_AGAIN, signal.pthread_kill, [main_thread().ident, error.number])
    again.daemon = True
    again.start()
