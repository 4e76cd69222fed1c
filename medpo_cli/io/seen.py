"""Which ids went by, and on which line: exact, in a quarter of a dict's memory (some 30 bytes an id)."""

import sqlite3


class Seen:
    """The ids of one stream, in SQLite's pages instead of as Python objects.

    In memory, not in a temporary file: a full ``/tmp`` must not end a run, and ids stay off the disk.
    """

    def __init__(self) -> None:
        # Stages may reject a record, and so ask for its line, from a worker thread.
        self._ids = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._ids.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def add(self, identifier: str, line: int) -> bool:
        """Remember an id with its line; False, and nothing changes, if it went by before."""
        return bool(self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (identifier, line)).rowcount)

    def line(self, identifier: str | None) -> int | None:
        """The line of an id, or None if it did not go by."""
        found = self._ids.execute("SELECT line FROM seen WHERE id = ?", (identifier,)).fetchone()
        return found and int(found[0])
