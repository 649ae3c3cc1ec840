"""Select: one read transaction over sealed and hot data, merged into `Columns`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from ninesight_store.catalog import Catalog, Known
from ninesight_store.chunk_reader import ChunkMeta, chunk_pieces
from ninesight_store.columns import columns_of_runs, empty_columns
from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Columns, Labels, Matcher, SeriesExemplars
from ninesight_store.damage import DamageLog
from ninesight_store.database import Database
from ninesight_store.exemplar_table import read_exemplars
from ninesight_store.hot_reader import HotMeta, HotReader, PointPool
from ninesight_store.kinds import assemble_kinds
from ninesight_store.matchers import compile_matchers
from ninesight_store.pieces import Piece, Run
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import FLOATS, POINTS, chunks, hot
from ninesight_store.selection import Selection
from ninesight_store.validation import TIMESTAMP_MS_MAX

__all__ = ["Found", "Reader", "clamped", "hours_of", "merged", "rows_of"]

_LAYOUTS_IN_MAX = 100
_HOT_LAYOUTS_IN_MAX = 1000


@dataclass(frozen=True)
class Found:
    """Rows and chunks that may hold wanted samples of one kind."""

    hot: list[HotMeta]
    sealed: list[ChunkMeta]


class Reader:
    """Reads for many threads, each call in a transaction of its own."""

    def __init__(self, database: Database, catalog: Catalog, cache: RowCache, damage: DamageLog) -> None:
        self._database, self._catalog, self._damage = database, catalog, damage
        self._hot = HotReader(cache, damage)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of the matching series within the span (see `Source`)."""
        compile_matchers(matchers)
        span = clamped(start_ms, end_ms)
        return self._select(lambda known: known.series.selection(matchers, hours_of(span)), span)

    def select_series(self, series: Sequence[Labels], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of exactly these series within the span; unknown ones are left out."""
        return self._select(lambda known: known.series.of_labels(series), clamped(start_ms, end_ms))

    def _select(self, chosen: Callable[[Known], Selection], span: tuple[int, int]) -> Columns:
        if span[0] > span[1]:
            return empty_columns()
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            selection = chosen(known)
            if not selection.labels:
                return empty_columns()
            pool = PointPool()
            pieces = self.pieces(connection, known, selection, span, pool)
        floats, points = merged(selection, pieces)
        return columns_of_runs(selection.labels, floats, points, pool.take(points.values))

    def known(self, connection: sa.Connection) -> Known:
        """Return index and layouts as this transaction sees them."""
        return self._catalog.refresh(connection)

    def pieces(
        self,
        connection: sa.Connection,
        known: Known,
        selection: Selection,
        span: tuple[int, int],
        pool: PointPool,
    ) -> dict[int, list[Piece]]:
        """Return the wanted samples of both kinds within the span, sealed and hot, as they were stored."""
        found = rows_of(connection, known, selection, span)
        return {
            kind: self._pieces(connection, kind, part, known, selection, span, pool)
            for kind, part in found.items()
        }

    def hot_pieces(
        self, connection: sa.Connection, metas: Sequence[HotMeta], known: Known, selection: Selection
    ) -> list[Piece]:
        """Return the wanted float samples of these hot rows, whole rows."""
        return self._hot.pieces(connection, FLOATS, metas, known, selection, PointPool())

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the matching series that may have samples in the span, sorted; reads no sample."""
        compile_matchers(matchers)
        span = clamped(start_ms, end_ms)
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            selection = known.series.selection(matchers, hours_of(span))
            if not selection.labels or span[0] > span[1]:
                return ()
            found = rows_of(connection, known, selection, span)
        numbers = {meta.layout_id for part in found.values() for meta in part.hot}
        numbers |= {meta.layout_id for part in found.values() for meta in part.sealed}
        alive = np.isin(selection.ids, known.layouts.series_in(numbers))
        if alive.all():
            return selection.labels
        return tuple(labels for labels, lives in zip(selection.labels, alive.tolist(), strict=True) if lives)

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, per_series_max: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars within the span of the series that any selector matches (see `Source`)."""
        for matchers in selectors:
            compile_matchers(matchers)
        span = clamped(start_ms, end_ms)
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            if not known.starts or not selectors:
                return ()
            ids = np.unique(np.concatenate([known.series.selection(each).ids for each in selectors]))
            return read_exemplars(connection, ids, known.series, span, per_series_max, self._damage)

    def _pieces(
        self,
        connection: sa.Connection,
        kind: int,
        found: Found,
        known: Known,
        selection: Selection,
        span: tuple[int, int],
        pool: PointPool,
    ) -> list[Piece]:
        sealed = found.sealed
        pieces = chunk_pieces(connection, kind, sealed, known, selection, span, pool, self._damage)
        return pieces + self.cut_hot_pieces(connection, kind, found.hot, known, selection, span, pool)

    def cut_hot_pieces(
        self,
        connection: sa.Connection,
        kind: int,
        metas: Sequence[HotMeta],
        known: Known,
        selection: Selection,
        span: tuple[int, int],
        pool: PointPool,
    ) -> list[Piece]:
        """Return the wanted samples of these hot rows within the span."""
        # As a rule rows are taken whole.
        cut = any(meta.start_ms < span[0] or meta.end_ms > span[1] for meta in metas)
        return self._hot.pieces(connection, kind, metas, known, selection, pool, span if cut else None)


def clamped(start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return a span as far as timestamps go."""
    return max(int(start_ms), -TIMESTAMP_MS_MAX), min(int(end_ms), TIMESTAMP_MS_MAX)


def hours_of(span: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last hour of a span, as far as hours go."""
    most = 2**31 - 2
    return max(-most, min(most, span[0] // HOUR_MS)), max(-most, min(most, span[1] // HOUR_MS))


def rows_of(
    connection: sa.Connection, known: Known, selection: Selection, span: tuple[int, int]
) -> dict[int, Found]:
    """Return by kind the rows and chunks that may hold samples of the selection within the span."""
    holding = known.layouts.holding(selection, hours_of(span))
    found = {kind: Found([], []) for kind in (FLOATS, POINTS)}
    hot_query = sa.select(
        hot.c.kind, hot.c.id, hot.c.layout_id, hot.c.start_ms, hot.c.end_ms, hot.c.count
    ).where(
        hot.c.hour >= span[0] // HOUR_MS,
        hot.c.hour <= span[1] // HOUR_MS,
        hot.c.end_ms >= span[0],
        hot.c.start_ms <= span[1],
    )
    sealed_query = sa.select(
        chunks.c.kind, chunks.c.id, chunks.c.layout_id, chunks.c.start_ms, chunks.c.end_ms, chunks.c.count
    ).where(chunks.c.end_ms >= span[0], chunks.c.start_ms <= span[1])
    if len(holding) <= _HOT_LAYOUTS_IN_MAX:
        hot_query = hot_query.where(hot.c.layout_id.in_(sorted(holding)))
    if len(holding) <= _LAYOUTS_IN_MAX:
        sealed_query = sealed_query.where(chunks.c.layout_id.in_(sorted(holding)))
    for kind, number, layout, start, end, count in connection.execute(hot_query):
        if layout in holding:
            found[kind].hot.append(HotMeta(number, layout, start, end, count))
    for kind, number, layout, start, end, count in connection.execute(sealed_query):
        if layout in holding:
            found[kind].sealed.append(ChunkMeta(number, layout, start, end, count))
    for part in found.values():
        part.hot.sort(key=_by_id)
    return found


def _by_id(meta: HotMeta) -> int:
    return meta.id


def merged(selection: Selection, pieces: dict[int, list[Piece]]) -> tuple[Run, Run]:
    """Return the floats, and the points as row numbers of the pool, series by series."""
    return assemble_kinds(len(selection.labels), pieces)
