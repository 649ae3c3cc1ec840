"""Locked files of this process, so that the child of a fork can let go of them all.

A lock taken by `flock` lives as long as any process has the open file: a child that kept one would
hold its dead parent's lock.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ninesight.forks import importing

__all__ = ["Handles"]


class Handles:
    """Opens and locks files, and knows which are open. Forks wait while one is being opened."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: set[int] = set()

    def hold(self, path: Path) -> int | None:
        """Return a handle that holds the file's lock, made if need be; None if somebody else holds it."""
        with importing():
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._open.add(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close(handle)
            return None
        except OSError:
            self.close(handle)
            raise
        return handle

    def close(self, handle: int | None) -> None:
        """Let go of a lock and its file."""
        if handle is not None and handle in self._open:
            self._open.discard(handle)
            with suppress(OSError):
                os.close(handle)

    def close_all(self) -> None:
        """Let go of everything."""
        for handle in list(self._open):
            self.close(handle)
