"""Messages for people and for logs: one line each, to stderr and optionally to a file."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from medpo_cli.io.files import translate_os_error
from medpo_cli.io.rank import is_follower

Level = Literal["info", "warning", "error"]


class Messages:
    """Writes ``medpo STAGE: text`` lines; of several processes all but the first say errors only.

    Args:
        stage: named at the start of each line.
        quiet: only warnings and errors reach stderr (the log file still gets everything).
        log_file: lines are appended here with a time.
        as_json: one JSON object per line instead of text, on stderr and in the file.
        emit: how a finished line reaches the screen; progress bars replace it to print above the bar.
    """

    def __init__(
        self,
        stage: str,
        *,
        quiet: bool = False,
        log_file: Path | None = None,
        as_json: bool = False,
        emit: Callable[[str], None] | None = None,
    ) -> None:
        self.stage = stage
        self.quiet = quiet
        self.as_json = as_json
        self.emit = emit or _to_stderr
        self._log_file = log_file

    def __call__(self, level: Level, text: str) -> None:
        """Say one thing, in one line."""
        text = plain(text)
        if is_follower() and level != "error":
            return
        if self._log_file is not None:
            self._append(self._log_file, self._line(level, text, dated=True) + "\n")
        if not self.quiet or level != "info":
            self.emit(self._line(level, text, dated=False))

    def show(self, text: str) -> None:
        """A result for people (a table): on stderr as it is, neither in the log file nor when quiet."""
        if text and not self.quiet and not self.as_json:
            self.emit(text)

    def _append(self, path: Path, line: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(line)
        except OSError as error:
            self._log_file = None
            raise translate_os_error(error, "the log file cannot be written") from error

    def _line(self, level: Level, text: str, *, dated: bool) -> str:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if self.as_json:
            return json.dumps({"time": now, "level": level, "stage": self.stage, "message": text}, ensure_ascii=False)
        mark = "" if level == "info" else f"{level}: "
        return f"{now + ' ' if dated else ''}medpo {self.stage}: {mark}{text}"


def plain(text: str) -> str:
    """``text`` in one line without characters that command a terminal: names of files and models may hold them."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError):  # a message that nobody can read must not end the work
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class Heartbeat:
    """Progress for logs: a line after 10 s, then at doubling intervals of at most 10 minutes."""

    first_seconds = 10.0
    longest_seconds = 600.0

    def __init__(self, messages: Messages, clock: Callable[[], float] = time.monotonic) -> None:
        self._messages = messages
        self._clock = clock
        self.start("", None)

    def start(self, what: str, total: int | None = None) -> None:
        """Begin a phase."""
        self._what, self._total, self._done = what, total, 0
        self._begun = self._clock()
        self._interval = self.first_seconds
        self._next = self._begun + self._interval

    def advance(self, items: int = 1) -> None:
        """Count items; say so when it is time."""
        self._done += items
        now = self._clock()
        if now >= self._next:
            self._messages("info", progress_line(self._what, self._done, self._total, now - self._begun))
            self._interval = min(2 * self._interval, self.longest_seconds)
            self._next = now + self._interval

    def note(self, message: str) -> None:
        """One line for the user."""
        self._messages("info", message)

    def warn(self, message: str) -> None:
        """One line that --quiet lets through."""
        self._messages("warning", message)


def progress_line(what: str, done: int, total: int | None, seconds: float) -> str:
    """``answers 120/400, 21.3/s, 0:13 left``."""
    rate = done / seconds if seconds > 0 else 0.0
    pace = f"{rate:.1f}/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s each"
    text = f"{what} {done}" + (f"/{total}" if total else "") + f", {pace}"
    if total and rate > 0:
        left = round((total - done) / rate)
        text += f", {left // 60}:{left % 60:02d} left"
    return text
