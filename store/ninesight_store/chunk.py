"""Chunks: a group of series with the same timestamps, compressed series by series.

    times   the shared timestamps, one compressed column
    ends    uint32: where each series' bytes end in `data`, in layout order
    data    the series' compressed values (or histogram points), one after another
    starts  start timestamps of all samples, series by series (starts.py), or nothing

One series is read without touching the others' bytes; the timestamps are stored once for the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from ninesight_store.checks import series_sums
from ninesight_store.codec import PCODEC, PCODEC_VERSION, RAW, decode_array, encode_array
from ninesight_store.config import StoreSettings
from ninesight_store.contract import Float64, HistogramColumns, Int64
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import slice_histograms, take_histograms
from ninesight_store.pieces import Run
from ninesight_store.point_chunk import decode_points, encode_points
from ninesight_store.rollup_floats import encode_rollup
from ninesight_store.rollup_points import encode_kept
from ninesight_store.rollup_row import RollupDraft
from ninesight_store.schema import FLOATS, POINTS
from ninesight_store.starts import encode_starts

__all__ = ["ChunkDraft", "decode_floats", "decode_histograms", "decode_times", "encode_kinds"]

_FLOATS_MAX, _POINTS_MAX = 64, 16
"""Series in one chunk: large enough to share timestamps, small enough to read one series cheaply."""
_RAW_BELOW = 4
"""Fewer samples are smaller as they are than with a codec's header."""


@dataclass(frozen=True)
class ChunkDraft:
    """A chunk before it has an id."""

    kind: int
    ids: Int64
    """Series ids in layout order."""
    start_ms: int
    end_ms: int
    count: int
    """Samples of all series."""
    codec: int
    times: bytes
    ends: bytes
    data: bytes
    series_sums: bytes
    """Checksum of each series' bytes."""
    starts: bytes | None = None
    """Start timestamps, if any sample has one."""
    codec_version: int = PCODEC_VERSION
    rollup: RollupDraft | None = None
    """Its samples summed up, where that is worth it."""


def encode_kinds(
    ids: Int64,
    floats: Run,
    rows: Run,
    points: HistogramColumns,
    settings: StoreSettings,
    *,
    rollups: bool,
) -> list[ChunkDraft]:
    """Compress both kinds of the same series; `rows.values` are rows of `points`.

    Series row r has the id `ids[r]`. With `rollups` chunks get one where it is worth it. The codec leaves the interpreter free, so chunks go to a few threads.
    """
    level = settings.compression_level
    ordered = take_histograms(points, rows.values)
    tasks = [
        partial(_encode_floats, ids, floats, group, level, rollups=rollups)
        for group in _groups(floats, _FLOATS_MAX)
    ]
    tasks += [
        partial(_encode_points, ids, rows, group, ordered, level, rollups=rollups)
        for group in _groups(rows, _POINTS_MAX)
    ]
    if len(tasks) < 4 or settings.seal_threads < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(settings.seal_threads, thread_name_prefix="ninesight-store-seal") as pool:
        return list(pool.map(_run, tasks))


def _run(task: Callable[[], ChunkDraft]) -> ChunkDraft:
    return task()


def _encode_floats(ids: Int64, run: Run, rows: list[int], level: int, *, rollups: bool) -> ChunkDraft:
    codec = _codec_of(run, rows)
    edges = run.offsets.tolist()
    columns = [run.values[edges[row] : edges[row + 1]] for row in rows]
    blobs = [encode_array(column, codec, level) for column in columns]
    draft = _draft(FLOATS, ids, run, rows, blobs, level, run.starts)
    if not rollups:
        return draft
    low, high, width = edges[rows[0]], edges[rows[-1] + 1], len(columns[0])
    neighbours = high - low == width * len(rows)
    values = run.values[low:high].reshape(len(rows), width) if neighbours else np.stack(columns)
    return replace(draft, rollup=encode_rollup(run.timestamps[low : low + width], values, level))


def _encode_points(
    ids: Int64, run: Run, rows: list[int], points: HistogramColumns, level: int, *, rollups: bool
) -> ChunkDraft:
    edges = run.offsets.tolist()
    series = [slice_histograms(points, edges[row], edges[row + 1]) for row in rows]
    blobs = [encode_points(each, level) for each in series]
    draft = _draft(POINTS, ids, run, rows, blobs, level, points.start_timestamps)
    times = run.timestamps[edges[rows[0]] : edges[rows[0] + 1]]
    return replace(draft, rollup=encode_kept(times, series, level)) if rollups else draft


def _codec_of(run: Run, rows: list[int]) -> int:
    return PCODEC if run.offsets[rows[0] + 1] - run.offsets[rows[0]] >= _RAW_BELOW else RAW


def _draft(
    kind: int,
    ids: Int64,
    run: Run,
    rows: list[int],
    blobs: list[bytes],
    level: int,
    starts: Int64 | None,
) -> ChunkDraft:
    times = run.timestamps[run.offsets[rows[0]] : run.offsets[rows[0] + 1]]
    codec = _codec_of(run, rows)
    if starts is not None:
        starts = np.concatenate([starts[run.offsets[row] : run.offsets[row + 1]] for row in rows])
    return ChunkDraft(
        kind=kind,
        ids=ids[rows],
        start_ms=int(times[0]),
        end_ms=int(times[-1]),
        count=len(times) * len(rows),
        codec=codec,
        times=encode_array(times, codec, level),
        ends=np.cumsum([len(blob) for blob in blobs]).astype("<u4").tobytes(),
        data=b"".join(blobs),
        series_sums=series_sums(blobs),
        starts=encode_starts(starts),
    )


def decode_floats(
    codec: int, stamps: Int64, ends: bytes, data: bytes, positions: Sequence[int], cut: slice
) -> list[Float64]:
    """Return, for each position in the group, its values within `cut` of the shared timestamps."""
    edges = [0, *np.frombuffer(ends, "<u4").tolist()]
    values = []
    for position in positions:
        column = decode_array(data[edges[position] : edges[position + 1]], codec, np.float64)
        if len(column) != len(stamps):
            raise StoreFormatError(f"a chunk is damaged: {len(column)} values for {len(stamps)} timestamps")
        values.append(column[cut])
    return values


def decode_histograms(
    stamps: Int64, ends: bytes, data: bytes, positions: Sequence[int], cut: slice
) -> list[HistogramColumns]:
    """Return, for each position, its points within `cut` of the shared timestamps."""
    edges = [0, *np.frombuffer(ends, "<u4").tolist()]
    series = np.zeros(len(stamps), np.int32)
    decoded = (
        decode_points(data[edges[position] : edges[position + 1]], series, stamps) for position in positions
    )
    if cut.stop - cut.start == len(stamps):
        return list(decoded)
    return [slice_histograms(points, cut.start, cut.stop) for points in decoded]


def decode_times(codec: int, times: bytes, span: tuple[int, int]) -> tuple[Int64, slice]:
    """Return the shared timestamps and which of them lie within the span."""
    stamps = decode_array(times, codec, np.int64)
    low, high = np.searchsorted(stamps, span[0], "left"), np.searchsorted(stamps, span[1], "right")
    return stamps, slice(int(low), max(int(low), int(high)))


def _groups(run: Run, largest: int) -> Iterator[list[int]]:
    """Yield rows of series with the same timestamps, neighbours together."""
    groups: dict[bytes, list[int]] = {}
    stamps = np.ascontiguousarray(run.timestamps)
    memory = stamps.view(np.uint8).data
    offsets = (run.offsets * 8).tolist()
    for row, (low, high) in enumerate(pairwise(offsets)):
        if low == high:
            continue
        key = bytes(memory[low:high])
        groups.setdefault(key, []).append(row)
        if len(groups[key]) == largest:
            yield groups.pop(key)
    yield from (group for group in groups.values() if group)
