"""Atomic files and content hashes."""

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from medpo_cli.errors import CannotCreateError, MedpoError, OutputError

_CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in bounded chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def short_hash(*parts: str | bytes) -> str:
    """16 hex digits that depend on every part and on where the parts end."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def translate_os_error(error: OSError, what: str) -> MedpoError:
    """The medpo error for an operating-system error while writing ``what``; no path is quoted."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
        return OutputError(f"{what}: {os.strerror(error.errno)}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
        return CannotCreateError(f"{what}: {os.strerror(error.errno)}")
    return OutputError(f"{what}: {os.strerror(error.errno) if error.errno else 'I/O error'}")


@contextlib.contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync and rename, on failure remove it.

    Args:
        path: the file to make.
        sync: False leaves the fsync to the caller, who has many files to make.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: writing failed midway (disk full).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sync:
            sync_file(temporary)
        temporary.replace(path)
    except OSError as error:
        raise translate_os_error(error, path.name) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove temporary files that ``atomic_path`` left when its process was killed.

    Args:
        folder: where they lie.
        name: only those of files whose names start so.
    """
    mine = re.compile(rf"\.{re.escape(name)}.*\.([0-9]+)\.tmp")
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            match = mine.fullmatch(entry.name)
            if match and not _runs(int(match[1])):
                os.unlink(entry.path)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_atomic(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write ``data`` to ``path`` so that readers see all of it or nothing; see ``atomic_path``."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
