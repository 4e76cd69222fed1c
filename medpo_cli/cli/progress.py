"""Progress on stderr: a bar on a terminal, heartbeat lines elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Any

from medpo_cli.io.context import Progress
from medpo_cli.io.log import Heartbeat, Messages
from medpo_cli.io.rank import is_follower

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


def make_progress(messages: Messages) -> "Progress":
    """A bar if stderr is a terminal (of one process) and nothing asked for plain or quiet output, else a heartbeat.

    rich is told the truth about the terminal because FORCE_COLOR would put escapes into files.
    """
    if sys.stderr.isatty() and not messages.quiet and not messages.as_json and not is_follower():
        return Bar(messages)
    return Heartbeat(messages)


class Bar:
    """A rich progress bar with rate and time left; messages are printed above it."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        messages.emit = self._emit
        self._begun = time.monotonic()

    def start(self, what: str, total: int | None = None) -> None:
        """Begin a phase: the bar of the last one goes."""
        from rich import progress
        from rich.console import Console

        self.stop()
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            _Rate(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(what, total=total)

    def advance(self, items: int = 1) -> None:
        """Count items."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, items)

    def note(self, message: str) -> None:
        """One line for the user."""
        self._messages("info", message)

    def warn(self, message: str) -> None:
        """One line that --quiet lets through."""
        self._messages("warning", message)

    def stop(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _emit(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _Rate() -> Any:  # noqa: N802  (reads as the class it returns)
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    return Rate()


def stop(progress: Progress) -> None:
    """Clean the terminal, whatever the progress is."""
    if isinstance(progress, Bar):
        progress.stop()
