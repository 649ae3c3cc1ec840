"""Has the database changed? One answer that costs microseconds, for readers that keep what they read.

SQLite's `data_version` changes on a connection whenever any other connection, of this process or another, commits.
The connection here never writes, so an unchanged number means an unchanged file.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

__all__ = ["Watch"]


class Watch:
    """Watches one SQLite file. Safe to use from many threads."""

    def __init__(self, path: Path | None) -> None:
        """`path` is None for databases that cannot be watched."""
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = path is None

    def version(self) -> int | None:
        """Return a number that stays the same as long as nothing was committed; None if that cannot be said."""
        with self._lock:
            if self._closed:
                return None
            try:
                if self._connection is None:
                    uri = f"{self._path.absolute().as_uri()}?mode=ro" if self._path else ""
                    # Nobody waits for this answer: a file that is locked just now counts as changed.
                    self._connection = sqlite3.connect(
                        uri, timeout=0, uri=True, check_same_thread=False, isolation_level=None
                    )
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                return None

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
