"""What language models said, kept on disk by the hash of all that it depends on."""

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from medpo_cli.errors import OutputError
from medpo_cli.io.files import write_atomic


class KeptReplies:
    """A folder of replies, only for its owner (mode 700, files 600); safe to use from several threads.

    Raises:
        OutputError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cache folder {folder.name}: {os.strerror(error.errno or 0)}") from None

    def get(self, key: Sequence[str]) -> str | None:
        """The reply that was kept under ``key``; None if there is none that can be read."""
        try:
            return self._place(key).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def put(self, key: Sequence[str], reply: str) -> None:
        """Keep a reply."""
        path = self._place(key)
        with self._lock:
            write_atomic(path, reply.encode("utf-8", "surrogatepass"))
            path.chmod(0o600)

    def _place(self, key: Sequence[str]) -> Path:
        return self._folder / hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).hexdigest()
