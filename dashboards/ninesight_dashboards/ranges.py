"""Range queries that several browsers share: each step of each query is evaluated once.

A range that moves keeps its old steps and asks only for the new ones (and the last two again, whose
samples may have come late). Bounded in queries kept; the one unused longest goes first. A query that
fails answers with what it had, marked with the error and the time of the last good answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ninesight_query.contract import Engine, Matrix
from ninesight_query.errors import QueryError

from ninesight_dashboards.series import Rows, joined, rows_of
from ninesight_dashboards.timerange import Grid

__all__ = ["RangeReader", "Reading"]

_POINTS_KEPT = 800
"""Steps kept of a query: browsers with a longer and a shorter range of the same step share them."""


@dataclass(frozen=True)
class Reading:
    """What a query answered. `rows` is None only where it never did; `error` says why it is old."""

    rows: Rows | None
    at_ms: int
    """When the answer was read."""
    error: str = ""


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: Rows | None = None
    read_ms: int = 0
    full_ms: int = 0


class RangeReader:
    """Reads range queries through an engine. Safe from many threads; the same query never runs twice at once."""

    def __init__(
        self,
        engine: Engine,
        *,
        now_ms: Callable[[], int],
        entries_max: int = 256,
        fresh_ms: int = 3000,
        full_ms_max: int = 600_000,
    ) -> None:
        self._engine = engine
        self._now_ms = now_ms
        self._entries_max = entries_max
        self._fresh_ms = fresh_ms
        self._full_ms_max = full_ms_max
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.steps_evaluated = 0
        """Steps asked of the engine so far: what the sharing saves is visible here."""

    def read(self, expr: str, grid: Grid) -> Reading:
        """Return the rows of a query over a grid. Never raises for what the engine may raise."""
        entry = self._entry(expr, grid.step_ms)
        with entry.lock:
            if entry.rows is not None and self._is_fresh(entry, entry.rows, grid):
                return Reading(entry.rows.cut(grid), entry.read_ms)
            try:
                self._renew(entry, expr, grid)
            except QueryError as error:
                rows = entry.rows.cut(grid) if entry.rows is not None else None
                return Reading(rows, entry.read_ms, str(error) or type(error).__name__)
            assert entry.rows is not None
            return Reading(entry.rows.cut(grid), entry.read_ms)

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, expr: str, step_ms: int) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault((expr, step_ms), _Entry())
            self._entries.move_to_end((expr, step_ms))
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
            return entry

    def _is_fresh(self, entry: _Entry, rows: Rows, grid: Grid) -> bool:
        known = rows.grid
        if not (known.start_ms <= grid.start_ms and grid.end_ms <= known.end_ms):
            return False
        settled = entry.read_ms - grid.end_ms > 2 * grid.step_ms + 60_000
        age_ms = self._now_ms() - entry.read_ms
        return age_ms < (20 * self._fresh_ms if settled else self._fresh_ms)

    def _renew(self, entry: _Entry, expr: str, grid: Grid) -> None:
        now_ms = self._now_ms()
        old = entry.rows
        if old is None or not self._can_extend(entry, old, grid, now_ms):
            entry.rows = self._ask(expr, grid)
            entry.full_ms = now_ms
        else:
            tail_ms = max(grid.start_ms, min(old.grid.end_ms, grid.end_ms) - 2 * grid.step_ms)
            tail = self._ask(expr, Grid(tail_ms, grid.end_ms, grid.step_ms))
            first_ms = max(old.grid.start_ms, grid.end_ms - _POINTS_KEPT * grid.step_ms)
            entry.rows = joined(old, tail, Grid(min(first_ms, grid.start_ms), grid.end_ms, grid.step_ms))
        entry.read_ms = now_ms

    def _can_extend(self, entry: _Entry, old: Rows, grid: Grid, now_ms: int) -> bool:
        overlaps = old.grid.start_ms <= grid.start_ms <= old.grid.end_ms
        return overlaps and now_ms - entry.full_ms < self._full_ms_max

    def _ask(self, expr: str, grid: Grid) -> Rows:
        value = self._engine.range(expr, grid.start_ms, grid.end_ms, grid.step_ms).value
        assert isinstance(value, Matrix), f"a range query answers with a matrix, got {type(value).__name__}"
        self.steps_evaluated += grid.points
        return rows_of(value, grid)
