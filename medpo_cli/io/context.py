"""What every stage gets beside records and settings: the root, the reject sink, progress, the clock."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from medpo_cli.errors import RecordError, TryLaterError


class Progress(Protocol):
    """How long work reports itself; implementations write to stderr only."""

    def start(self, what: str, total: int | None = None) -> None:
        """Begin a phase of ``total`` items (None: unknown)."""

    def advance(self, items: int = 1) -> None:
        """``items`` more are done."""

    def note(self, message: str) -> None:
        """One line for the user, without record text."""

    def warn(self, message: str) -> None:
        """One line that is shown also where only warnings and errors are."""


class Silent:
    """Progress that shows nothing: the default for use from Python."""

    def start(self, what: str, total: int | None = None) -> None:
        """Ignore."""

    def advance(self, items: int = 1) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""

    def warn(self, message: str) -> None:
        """Ignore."""


RejectSink = Callable[[str | None, RecordError], None]


def raise_reject(_id: str | None, error: RecordError) -> None:
    """The default sink from Python: a bad record is an exception."""
    raise error


class Context:
    """Surroundings of one stage run.

    Args:
        root: folder that records' paths are relative to.
        reject: called with (id, error) for each record that cannot be used.
        progress: where progress goes.
        allow_outside: accept paths that leave the root.
        deadline: ``time.monotonic()`` value after which work saves its state and stops.

    Attributes:
        expected: records that will arrive, where that can be told beforehand; for progress only.
        facts: what a stage found out about its run (device, model digest), for the manifest.
    """

    def __init__(
        self,
        root: Path | str = ".",
        *,
        reject: RejectSink = raise_reject,
        progress: Progress | None = None,
        allow_outside: bool = False,
        deadline: float | None = None,
    ) -> None:
        self.root = Path(root)
        self.reject = reject
        self.progress: Progress = progress or Silent()
        self.allow_outside = allow_outside
        self.deadline = deadline
        self.expected: int | None = None
        self.facts: dict[str, str] = {}

    def out_of_time(self) -> bool:
        """True once the time limit has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def check_time(self) -> None:
        """Raise TryLaterError once the time limit has passed; callers save their state first."""
        if self.out_of_time():
            raise TryLaterError("time limit reached; state saved, run again with --resume")

    def resolve(self, path: str, field: str, *, folder: bool = False) -> Path:
        """Absolute path of a record's ``path``: a regular file inside the root, or with ``folder`` also a folder.

        Raises:
            RecordError: ``path-escape``, ``file-not-found`` or ``not-regular``, naming ``field``.
        """
        if "\0" in path or "://" in path:
            raise RecordError("path-escape", "not a plain file path", field)
        try:
            full = (self.root / path).resolve()
            found = full.exists()
        except (OSError, RuntimeError):
            # A name too long for the file system, or a loop of links: there is no such file.
            raise RecordError("file-not-found", "file not found under the root", field) from None
        if not self.allow_outside and not full.is_relative_to(self.root.resolve()):
            raise RecordError("path-escape", "path leaves the root (--allow-outside permits it)", field)
        if not found:
            raise RecordError("file-not-found", "file not found under the root", field)
        if not full.is_file() and not (folder and full.is_dir()):
            raise RecordError("not-regular", "not a regular file", field)
        return full
