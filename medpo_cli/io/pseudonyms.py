"""Names that tell nothing to whoever lacks the key, and the file that holds the key."""

import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from medpo_cli.errors import CannotCreateError, ConfigError

KEY_BYTES = 32
PSEUDONYM = 20
"""Hex digits of a pseudonym: 80 bits, so that a billion ids do not meet."""


class Key:
    """Makes pseudonyms: HMAC-SHA256 with a secret key, which whoever lacks it cannot try names against."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, kind: str, value: str | bytes) -> str:
        """20 hex digits of a value; equal values of two kinds differ."""
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        return hmac.digest(self._key, kind.encode() + b"\0" + data, "sha256").hex()[:PSEUDONYM]


def load_key(path: Path, outside: Iterable[Path]) -> Key:
    """The key in a file, which is made on first use (mode 600).

    Args:
        path: the key file.
        outside: folders that must not hold it: whoever gets the data must not get the key.

    Raises:
        ConfigError: it lies in one of these folders, others may read it, or it is no key.
        CannotCreateError: it cannot be made.
    """
    if any(path.resolve().is_relative_to(folder.resolve()) for folder in outside):
        raise ConfigError("--key: the key must lie outside the data (neither in FOLDER nor with the images)")
    try:
        if not path.exists():
            _make_key(path)
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError("--key: not a regular file")
        if about.st_mode & 0o077:
            raise ConfigError("--key: others may read the key file; chmod 600 it")
        key = bytes.fromhex(path.read_bytes().decode("ascii").strip())
    except OSError as error:
        raise CannotCreateError(f"--key: {os.strerror(error.errno or 0)}") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"--key: a key file holds {2 * KEY_BYTES} hexadecimal digits")
    return Key(key)


def _make_key(path: Path) -> None:
    """Write a new key; of two runs at once, the first one's key holds."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
            stream.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
