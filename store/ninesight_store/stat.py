"""Reading a `StoreStat` off the tables."""

from __future__ import annotations

import sqlalchemy as sa

from ninesight_store.catalog import Catalog
from ninesight_store.counters import Counters
from ninesight_store.damage import DamageLog
from ninesight_store.database import Database
from ninesight_store.reports import StoreStat
from ninesight_store.schema import FLOATS, POINTS, chunks, exemplars, hot, rollups

__all__ = ["read_stat"]

_count, _sum, _len = sa.func.count(), sa.func.sum, sa.func.length
# Answered by the indexes alone: reading rows would take minutes in a database of 10 GB.
_HOT = sa.select(
    hot.c.kind, _count, _sum(hot.c.count), sa.func.min(hot.c.start_ms), sa.func.max(hot.c.end_ms)
).group_by(hot.c.kind)
_SEALED = sa.select(
    chunks.c.kind,
    _count,
    _sum(chunks.c.count),
    sa.func.min(chunks.c.start_ms),
    sa.func.max(chunks.c.end_ms),
).group_by(chunks.c.kind)
_PAYLOAD = sa.select(
    chunks.c.kind, _sum(_len(chunks.c.times) + _len(chunks.c.ends) + _len(chunks.c.data))
).group_by(chunks.c.kind)
_ROLLUPS = sa.select(_count, _sum(rollups.c.bytes))


def read_stat(
    database: Database, catalog: Catalog, counters: Counters, damage: DamageLog, *, payload: bool
) -> StoreStat:
    """Return the state of the store in one read transaction; with `payload` every chunk is looked at."""
    with database.reading() as connection:
        known = catalog.refresh(connection)
        hot_rows = {kind: rest for kind, *rest in connection.execute(_HOT)}
        sealed = {kind: rest for kind, *rest in connection.execute(_SEALED)}
        held = dict(map(tuple, connection.execute(_PAYLOAD))) if payload else None
        traces = connection.execute(sa.select(_count).select_from(exemplars)).scalar() if known.starts else 0
        summed = connection.execute(_ROLLUPS).one() if known.rollups else (0, None)
        size, free = database.backend.size_bytes(connection), database.backend.free_bytes(connection)
    nothing = [0, 0, None, None]
    parts = [*hot_rows.values(), *sealed.values()]
    return StoreStat(
        series=len(known.series),
        layouts=len(known.layouts),
        hot_rows=sum(part[0] for part in hot_rows.values()),
        hot_samples=hot_rows.get(FLOATS, nothing)[1],
        hot_points=hot_rows.get(POINTS, nothing)[1],
        chunks=sum(part[0] for part in sealed.values()),
        sealed_samples=sealed.get(FLOATS, nothing)[1],
        sealed_points=sealed.get(POINTS, nothing)[1],
        sealed_bytes=None if held is None else held.get(FLOATS, 0),
        sealed_points_bytes=None if held is None else held.get(POINTS, 0),
        size_bytes=size,
        free_bytes=free,
        oldest_ms=min((part[2] for part in parts), default=None),
        newest_ms=max((part[3] for part in parts), default=None),
        exemplars=traces or 0,
        rollups=summed[0],
        rollup_bytes=summed[1] or 0,
        format=known.info.format,
        counters=counters.snapshot() | damage.counts(),
    )
