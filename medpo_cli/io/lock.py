"""Locks between processes that vanish with their holder (flock), for cron."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medpo_cli.errors import CannotCreateError, TryLaterError


@contextlib.contextmanager
def hold(path: Path, what: str, *, remove: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created if absent; ``remove`` takes it away at the end).

    Raises:
        TryLaterError: another process holds it.
        CannotCreateError: the lock file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"{what}: cannot make the lock file: {os.strerror(error.errno or 0)}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryLaterError(f"{what}: another medpo run holds it; try again later") from None
        try:
            yield
        finally:
            if remove:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def named_lock_path(name: str) -> Path:
    """Where ``--lock NAME`` lives: one file a user and name, a path if the name holds a slash."""
    if os.sep in name:
        return Path(name)
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return folder / f"medpo-{os.getuid()}-{name}.lock"
