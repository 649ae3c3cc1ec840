"""Reading covers: from the cache, brought up to date, or anew; see cover.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import sqlalchemy as sa

from ninesight_store.catalog import Known
from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Int64, Matcher
from ninesight_store.cover import Cover, CoverCache, Kept, State
from ninesight_store.damage import DamageLog
from ninesight_store.database import Database
from ninesight_store.folder import FOLDED
from ninesight_store.hot_reader import HotMeta, PointPool
from ninesight_store.matchers import compile_matchers
from ninesight_store.moves import MOVES, Moves
from ninesight_store.pieces import POINTS, assemble
from ninesight_store.reader import Reader, clamped, hours_of, merged
from ninesight_store.schema import chunks, hot, info
from ninesight_store.selection import Selection
from ninesight_store.sheets import DisorderError, Strip, appended, packed, strips_of_run
from ninesight_store.validation import TIMESTAMP_MS_MAX
from ninesight_store.watch import Watch

__all__ = ["CoverReader", "Keeping"]

# As plain SQL: every query asks this, and two look-ups of a highest key cost microseconds.
_SELECT_STATE = (
    f"SELECT (SELECT max(id) FROM {hot.name}), "  # noqa: S608 - our own names
    f"(SELECT value FROM {info.name} WHERE key = '{MOVES}'), "
    f"(SELECT value FROM {info.name} WHERE key = '{FOLDED}')"
)

# Made once: building a statement takes longer than asking it.
_NEWER_ROWS = (
    sa.select(hot.c.kind, hot.c.id, hot.c.layout_id, hot.c.start_ms, hot.c.end_ms, hot.c.count)
    .where(
        hot.c.id > sa.bindparam("seen"),
        hot.c.end_ms >= sa.bindparam("start_ms"),
        hot.c.start_ms <= sa.bindparam("end_ms"),
    )
    .order_by(hot.c.id)
)

Keeping = Callable[[Sequence[Matcher], int, int], Cover | None]


class CoverReader:
    """Hands out covers. Safe to use from many threads."""

    def __init__(
        self,
        database: Database,
        reader: Reader,
        moves: Moves,
        watch: Watch,
        damage: DamageLog,
        bytes_max: int,
    ) -> None:
        self._database, self._reader, self._watch, self._damage = database, reader, watch, damage
        self._moves = moves
        self.cache = CoverCache(bytes_max)
        self._upkeep = 0
        self.anew = 0
        """Covers that were read from the tables, not brought up to date."""

    def changed(self) -> None:
        """Forget everything: something was retired."""
        self._upkeep += 1
        self.cache.clear()

    def cover(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Cover:
        """Return the selector's samples over at least the span, without their start timestamps.

        Raises MatcherError, RetryableError, StoreError.
        """
        span = clamped(start_ms, end_ms)
        version = self._watch.version()
        token = None if version is None else (version, self._upkeep)
        kept = self.cache.find(matchers, *span)
        if kept is not None and token is not None and kept.token == token:
            return kept.cover
        compile_matchers(matchers)
        damaged = self._damage.counts()["reads_damaged"]
        upkeep = self._upkeep
        with self._database.reading() as connection:
            known = self._reader.known(connection)
            over = _aligned(span, _live_from(connection)) if kept is None else kept.cover.span
            selection = known.series.selection(matchers, hours_of(over))
            hot_last, moves, folded = connection.exec_driver_sql(_SELECT_STATE).one()
            state = State(hot_last or 0, moves or 0, upkeep, folded or 0)
            cover = None if kept is None else self._refreshed(connection, known, selection, kept, state)
            refreshed = kept if cover is not None else None
            if cover is None:
                self.anew += 1
                over = _aligned(span, _live_from(connection))
                selection = known.series.selection(matchers, hours_of(over))
                cover = self._read(connection, known, selection, over)
        if self._damage.counts()["reads_damaged"] == damaged:
            self.cache.keep(matchers, _kept(cover, selection.ids, state, token, span, refreshed))
        return cover

    def kept(self) -> Keeping | None:
        """Return what hands out the cover of a span if it is kept and nothing was committed up to now, else None.

        Neither reads, and neither waits for anybody. None where it cannot be said what was committed.
        """
        version = self._watch.version()
        return None if version is None else partial(self.cache.current, (version, self._upkeep))

    def _refreshed(
        self, connection: sa.Connection, known: Known, selection: Selection, kept: Kept, state: State
    ) -> Cover | None:
        """Return a kept cover with the rows written since; None if it must be read anew."""
        before = kept.state
        if before.upkeep != state.upkeep or not np.array_equal(kept.ids, selection.ids):
            return None
        if not self._moves.lead(before.moves, state.moves, before.hot_last):
            return None
        if before.folded != state.folded > before.hot_last:
            # A row that was not seen yet may hold samples of one that was.
            return None
        if state.hot_last <= before.hot_last:
            return kept.cover
        cover = kept.cover
        asked = {"seen": before.hot_last, "start_ms": cover.start_ms, "end_ms": cover.end_ms}
        holding = known.layouts.holding(selection, hours_of(cover.span))
        found: dict[int, list[HotMeta]] = {}
        for kind, *rest in connection.execute(_NEWER_ROWS, asked):
            if rest[1] in holding:
                found.setdefault(kind, []).append(HotMeta(*rest))
        if not found:
            return cover
        if POINTS in found or len(cover.histograms):
            return None
        (metas,) = found.values()
        if any(meta.start_ms < cover.start_ms or meta.end_ms > cover.end_ms for meta in metas):
            return None
        pieces = self._reader.hot_pieces(connection, metas, known, selection)
        run = assemble(len(selection.labels), pieces, np.float64)
        try:
            sheets = appended(cover.sheets, run, len(selection.labels))
        except DisorderError:
            return None
        return replace(cover, sheets=sheets)

    def _read(
        self, connection: sa.Connection, known: Known, selection: Selection, span: tuple[int, int]
    ) -> Cover:
        start, end = span
        pool = PointPool()
        pieces = self._reader.pieces(connection, known, selection, (start, end), pool)
        floats, points = merged(selection, pieces)
        histograms = pool.take(points.values)
        rows = np.repeat(np.arange(len(selection.labels), dtype=np.int32), np.diff(points.offsets))
        histograms = replace(histograms, series=rows, timestamps=points.timestamps, start_timestamps=None)
        sheets = packed(strips_of_run(floats))
        return Cover(selection.labels, start, end, sheets, points.offsets, histograms)


def _kept(
    cover: Cover,
    ids: Int64,
    state: State,
    token: tuple[int, int] | None,
    span: tuple[int, int],
    before: Kept | None,
) -> Kept:
    """Return what is to be kept of a cover: of one that grew, an hour later only what was asked for since."""
    if before is None:
        return Kept(cover, ids, state, token, since_ms=span[1], lowest_ms=span[0])
    # Rows that were sealed do not come back: what was seen stays seen.
    state = replace(state, hot_last=max(state.hot_last, before.state.hot_last))
    if span[1] - before.since_ms < HOUR_MS:
        return Kept(cover, ids, state, token, before.since_ms, before.lowest_ms)
    return Kept(_trimmed(cover, before.lowest_ms), ids, state, token, span[1], span[0])


def _trimmed(cover: Cover, start_ms: int) -> Cover:
    """Return a cover without what lies before a time, if that is worth it."""
    if start_ms < cover.start_ms + HOUR_MS or len(cover.histograms):
        return cover
    strips = []
    for strip in (strip for sheet in cover.sheets for strip in sheet.strips()):
        ((times, values),) = strip.spans
        low = int(times.searchsorted(start_ms))
        if low < len(times):
            strips.append(Strip(strip.rows, [(times[low:], values[:, low:])]))
    return replace(cover, start_ms=start_ms, sheets=packed(strips))


def _live_from(connection: sa.Connection) -> int:
    """Return the time from which on data may still come."""
    hour = connection.execute(sa.select(sa.func.min(hot.c.hour))).scalar()
    if hour is not None:
        return int(hour) * HOUR_MS
    newest = connection.execute(sa.select(sa.func.max(chunks.c.end_ms))).scalar()
    return -TIMESTAMP_MS_MAX if newest is None else int(newest)


def _aligned(span: tuple[int, int], live_from: int) -> tuple[int, int]:
    start, end = span
    if end >= live_from:
        return start, TIMESTAMP_MS_MAX
    return start // HOUR_MS * HOUR_MS, min((end // HOUR_MS + 1) * HOUR_MS, live_from) - 1
