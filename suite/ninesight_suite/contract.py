"""What the suite promises to its callers: one object that starts, serves and stops everything.

    Suite(config).start() ─► .app (ASGI: API and receivers) ─► .stop()

Order of start: store, engine, alerts, collector. Order of stop is the reverse, so that nothing
accepted is lost: receivers refuse first, then the last samples are written, then the store closes.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Lifecycle"]


class Lifecycle(Protocol):
    """A part that runs threads. `stop` may be called twice, and without `start`."""

    def start(self) -> None:
        """Begin. Raises the part's own error if it cannot."""

    def stop(self, timeout_s: float = 5.0) -> None:
        """End within about the timeout; what was accepted is written first."""
