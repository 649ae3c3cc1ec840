"""What all running queries of an engine may hold together.

Each query reports the most it held so far; what it reported is given back when it ends. So many small
queries run side by side, and few large ones: the next one that would need too much is refused, not the host.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ninesight_query.errors import BusyError

__all__ = ["Budget", "Share"]


@dataclass
class Share:
    """What one query holds. Used by the query's thread."""

    budget: Budget
    cells: int = 0

    def grow_to(self, cells: int) -> None:
        """Report that the query holds so many samples. Raises BusyError where all together would be too many."""
        if cells > self.cells:
            self.budget.take(cells - self.cells)
            self.cells = cells

    def close(self) -> None:
        """Give back what the query held."""
        self.budget.take(-self.cells)
        self.cells = 0


class Budget:
    """Samples of all running queries. Safe to use from many threads."""

    def __init__(self, cells_max: int) -> None:
        self._lock = threading.Lock()
        self._cells_max = cells_max
        self.cells = 0
        """Held now, by the peaks of the queries that run."""

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Open a share for one query; it ends with the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.close()

    def take(self, cells: int) -> None:
        """Take more, or give back. Raises BusyError, and takes nothing, where there is not so much left."""
        with self._lock:
            if self.cells + cells > self._cells_max:
                raise BusyError(
                    f"all running queries may hold at most {self._cells_max} samples together, {self.cells} are "
                    f"held and this query needs {cells} more; try again in a moment, narrow the query, or raise "
                    "the engine's samples_shared_max"
                )
            self.cells += cells
