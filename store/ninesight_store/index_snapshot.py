"""The label index as bytes, so that opening a store need not read every series again.

    head    JSON: version, what the index knew (ids, generations, newest row and chunk), bytes of each section, digest
    body    names and values of the label pairs (JSON lists), then columns (pcodec), one section after the other

A digest over the whole body is checked before anything in it is looked at. What it does not rule out (a bug, or
tables put together by hand) is met by checking the columns' own rules, and one series against the database.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import orjson

from ninesight_store.codec import PCODEC, decode_array, encode_array
from ninesight_store.contract import Int32, Int64
from ninesight_store.errors import StoreFormatError
from ninesight_store.layouts import LayoutState, LayoutTable
from ninesight_store.series_index import IndexState, SeriesIndex

__all__ = ["SnapshotState", "packed", "unpacked"]

VERSION = 1
_LEVEL = 4


@dataclass(frozen=True)
class SnapshotState:
    """Index and layout table at one moment."""

    series: IndexState
    layouts: LayoutState


def packed(state: SnapshotState) -> tuple[bytes, bytes]:
    """Return head and body."""
    series, layouts = state.series, state.layouts
    names, name_of, values = series.pairs
    columns = (
        name_of,
        *(series.ids, series.lengths, series.flat, series.first, series.last),
        *(layouts.numbers, layouts.lengths, layouts.flat, layouts.first, layouts.last),
    )
    sections = [orjson.dumps(names), orjson.dumps(values)]
    sections += [encode_array(column, PCODEC, _LEVEL) for column in columns]
    body = b"".join(sections)
    head = {
        "version": VERSION,
        "series": [series.generation, series.next_id],
        "layouts": [layouts.generation, layouts.next_id],
        "seen": layouts.seen,
        "sections": [len(section) for section in sections],
        "digest": _digest(body),
    }
    return orjson.dumps(head), body


def unpacked(head: bytes, body: bytes) -> tuple[SeriesIndex, LayoutTable]:
    """Return the index and the table. Raises ValueError if these are not bytes that `packed` gave."""
    try:
        return _unpacked(orjson.loads(head), memoryview(body))
    except (KeyError, TypeError, IndexError, OverflowError, StoreFormatError) as error:
        raise ValueError(f"its contents cannot be read ({type(error).__name__}: {error})") from error


def _unpacked(head: dict[str, object], body: memoryview) -> tuple[SeriesIndex, LayoutTable]:
    if head["version"] != VERSION:
        raise ValueError(f"it must be of version {VERSION}, got {head['version']}")
    sizes = _numbers(head["sections"])
    if sum(sizes) != len(body) or head["digest"] != _digest(body):
        raise ValueError("its digest does not match")
    edges = np.cumsum([0, *sizes]).tolist()
    parts = [body[low:high] for low, high in pairwise(edges)]
    names, values = orjson.loads(parts[0]), orjson.loads(parts[1])
    series_generation, series_next = _numbers(head["series"])
    layout_generation, layout_next = _numbers(head["layouts"])
    hot_seen, chunk_seen = _numbers(head["seen"])
    index = SeriesIndex.of_state(
        IndexState(
            series_generation,
            series_next,
            (names, _narrow(parts[2]), values),
            _wide(parts[3]),
            _wide(parts[4]),
            _narrow(parts[5]),
            _narrow(parts[6]),
            _narrow(parts[7]),
        )
    )
    table = LayoutTable.of_state(
        LayoutState(
            layout_generation,
            layout_next,
            (hot_seen, chunk_seen),
            _wide(parts[8]),
            _wide(parts[9]),
            _wide(parts[10]),
            _narrow(parts[11]),
            _narrow(parts[12]),
        )
    )
    return index, table


def _digest(body: bytes | memoryview) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _numbers(value: object) -> list[int]:
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise ValueError(f"its head must hold lists of numbers, got {value!r:.80}")
    return value


def _narrow(part: memoryview) -> Int32:
    return decode_array(bytes(part), PCODEC, np.int32).astype(np.int32, casting="safe", copy=False)


def _wide(part: memoryview) -> Int64:
    return decode_array(bytes(part), PCODEC, np.int64).astype(np.int64, casting="safe", copy=False)
