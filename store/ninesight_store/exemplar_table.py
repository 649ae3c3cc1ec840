"""Exemplars in the database: one row each, bounded per series and in all.

    write ──► insert (the same one twice is one row) ──► every few hundred: trim ──► retain: dropped with age

A trim drops what a series has beyond its newest `exemplars_per_series_max`, then the oldest beyond
`exemplars_max`; in between the table may hold 1 % more. Answers honour the bound of a series exactly.
"""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ninesight_store.config import StoreSettings
from ninesight_store.contract import Exemplar, Int64, SeriesExemplars
from ninesight_store.damage import EXEMPLAR, Damage, DamageLog
from ninesight_store.exemplars import newest
from ninesight_store.schema import exemplars
from ninesight_store.series_index import SeriesIndex
from ninesight_store.stored_labels import labels_from_text, labels_text

__all__ = ["ExemplarWriter", "damaged_exemplars", "read_exemplars"]

_IN_MAX = 500
_TRIM_MIN = 100


class ExemplarWriter:
    """Inserts and trims, inside write transactions. One at a time."""

    def __init__(self, settings: StoreSettings) -> None:
        self._per_series, self._all = settings.exemplars_per_series_max, settings.exemplars_max
        self._touched: set[int] = set()
        self._fresh = 0

    def insert(self, connection: sa.Connection, found: Sequence[tuple[int, Exemplar]]) -> int:
        """Keep (series id, exemplar) pairs; return how many were new."""
        if not found or not self._all:
            return 0
        rows = dict(map(_row, found))
        present = _present(connection, rows)
        fresh = [row for key, row in rows.items() if key not in present]
        if fresh:
            connection.execute(sa.insert(exemplars), fresh)
        self._touched.update(number for number, _ in found)
        self._fresh += len(fresh)
        if self._fresh >= max(_TRIM_MIN, self._all // 100):
            self.trim(connection, sorted(self._touched))
        return len(fresh)

    def trim(self, connection: sa.Connection, touched: Sequence[int] | None = None) -> int:
        """Drop what is over the bounds, of these series or (None) of all; return how many."""
        dropped = 0
        parts = (
            [None]
            if touched is None
            else [touched[at : at + _IN_MAX] for at in range(0, len(touched), _IN_MAX)]
        )
        for part in parts:
            dropped += _delete(connection, _surplus(part, self._per_series))
        count = connection.execute(sa.select(sa.func.count()).select_from(exemplars)).scalar() or 0
        if count > self._all:
            oldest = sa.select(*_KEY).order_by(exemplars.c.time_ms, *_KEY).limit(count - self._all)
            dropped += _delete(connection, oldest)
        self._touched, self._fresh = set(), 0
        return dropped

    def retire(self, connection: sa.Connection, before_ms: int) -> int:
        """Drop what is older than this; return how many."""
        query = sa.delete(exemplars).where(exemplars.c.time_ms < before_ms)
        return int(connection.execute(query).rowcount)


def read_exemplars(
    connection: sa.Connection,
    ids: Int64,
    index: SeriesIndex,
    span: tuple[int, int],
    most: int,
    damage: DamageLog,
) -> tuple[SeriesExemplars, ...]:
    """Return the exemplars of these series within the span, the newest `most` of each, sorted by labels."""
    query = sa.select(exemplars).where(exemplars.c.time_ms >= span[0], exemplars.c.time_ms <= span[1])
    if len(ids) <= _IN_MAX:
        query = query.where(exemplars.c.series_id.in_(ids.tolist()))
    wanted = set(ids.tolist())
    found: dict[int, list[Exemplar]] = defaultdict(list)
    for number, time, key, value, text in connection.execute(query):
        if number not in wanted:
            continue
        if _key(number, time, value, text) != key:
            damage.add(Damage(EXEMPLAR, number, "it does not match its key", (number,), time, time))
            continue
        (observed,) = struct.unpack("<d", value)
        found[number].append(Exemplar(labels_from_text(text), observed, time))
    numbers = sorted(found)
    named = zip(index.labels_of(numbers), numbers, strict=True)
    return tuple(SeriesExemplars(labels, newest(found[number], most)) for labels, number in sorted(named))


def damaged_exemplars(connection: sa.Connection) -> list[Damage]:
    """Read all exemplars and return those that are not as they were written."""
    return [
        Damage(EXEMPLAR, number, "it does not match its key", (number,), time, time)
        for number, time, key, value, text in connection.execute(sa.select(exemplars))
        if _key(number, time, value, text) != key
    ]


_KEY = (exemplars.c.series_id, exemplars.c.time_ms, exemplars.c.key)


_Key = tuple[int, int, bytes]


def _row(pair: tuple[int, Exemplar]) -> tuple[_Key, dict[str, object]]:
    number, exemplar = pair
    time = exemplar.timestamp_ms
    value, text = struct.pack("<d", exemplar.value), labels_text(exemplar.labels)
    key = _key(number, time, value, text)
    return (number, time, key), {
        "series_id": number,
        "time_ms": time,
        "key": key,
        "value": value,
        "labels": text,
    }


def _key(number: int, time: int, value: bytes, text: str) -> bytes:
    head = struct.pack("<qq", number, time)
    return hashlib.blake2b(head + value + text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _present(connection: sa.Connection, rows: Iterable[_Key]) -> set[_Key]:
    """Return which of these (series, time, key) are there."""
    wanted = sorted({(number, time) for number, time, _ in rows})
    found: set[_Key] = set()
    for at in range(0, len(wanted), _IN_MAX):
        part = wanted[at : at + _IN_MAX]
        times = [time for _, time in part]
        query = sa.select(*_KEY).where(
            exemplars.c.series_id.in_({number for number, _ in part}),
            exemplars.c.time_ms >= min(times),
            exemplars.c.time_ms <= max(times),
        )
        found.update((number, time, key) for number, time, key in connection.execute(query))
    return found


def _surplus(part: Sequence[int] | None, most: int) -> sa.Select[Any]:
    place = sa.func.row_number().over(
        partition_by=exemplars.c.series_id, order_by=(exemplars.c.time_ms.desc(), exemplars.c.key)
    )
    ranked = sa.select(*_KEY, place.label("place"))
    if part is not None:
        ranked = ranked.where(exemplars.c.series_id.in_(part))
    inner = ranked.subquery()
    return sa.select(inner.c.series_id, inner.c.time_ms, inner.c.key).where(inner.c.place > most)


def _delete(connection: sa.Connection, query: sa.Select[Any]) -> int:
    doomed = [{"s": number, "t": time, "k": key} for number, time, key in connection.execute(query)]
    if doomed:
        names = zip(_KEY, "stk", strict=True)
        one = sa.delete(exemplars).where(*(column == sa.bindparam(name) for column, name in names))
        connection.execute(one, doomed)
    return len(doomed)
