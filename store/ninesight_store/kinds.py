"""One sample a timestamp: of a float and a histogram point of one series and time, the one written last stays.

Hardly any series has both kinds, so this looks only at those that do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int64
from ninesight_store.pieces import FLOATS, POINTS, Piece, Run, assemble

__all__ = ["assemble_kinds", "one_kind_each"]

Side = tuple[Int64, Int64, Int64, Int64 | None]
"""Series and timestamp of every row, the rows kept so far (sorted by both), and when each was written."""


def one_kind_each(floats: Side, points: Side) -> tuple[Int64, Int64]:
    """Of a float and a histogram point at the same series and timestamp, keep what was written later."""
    series, times, kept, order = floats
    point_series, point_times, kept_points, point_order = points
    both = np.intersect1d(series[kept], point_series[kept_points])
    if not len(both):
        return kept, kept_points
    left = np.flatnonzero(np.isin(series[kept], both))
    right = np.flatnonzero(np.isin(point_series[kept_points], both))
    where = {
        key: row
        for row, key in zip(
            left.tolist(),
            zip(series[kept[left]].tolist(), times[kept[left]].tolist(), strict=True),
            strict=True,
        )
    }
    drop_left: list[int] = []
    drop_right: list[int] = []
    for row in right.tolist():
        point = kept_points[row]
        twin = where.get((int(point_series[point]), int(point_times[point])))
        if twin is None:
            continue
        newer_float = order is not None and point_order is not None and order[kept[twin]] > point_order[point]
        (drop_right if newer_float else drop_left).append(row if newer_float else twin)
    return np.delete(kept, drop_left), np.delete(kept_points, drop_right)


def assemble_kinds(count: int, pieces: Mapping[int, Sequence[Piece]]) -> tuple[Run, Run]:
    """Return the runs of floats and of histogram points (whose values are row numbers) over `count` series."""
    both = bool(pieces[FLOATS]) and bool(pieces[POINTS])
    floats = assemble(count, pieces[FLOATS], np.float64, written=both)
    points = assemble(count, pieces[POINTS], np.int64, written=both)
    if not (np.diff(floats.offsets).astype(np.bool_) & np.diff(points.offsets).astype(np.bool_)).any():
        return floats, points
    kept, kept_points = one_kind_each(
        (floats.series(), floats.timestamps, np.arange(len(floats.timestamps)), floats.written),
        (points.series(), points.timestamps, np.arange(len(points.timestamps)), points.written),
    )
    return _only(floats, kept), _only(points, kept_points)


def _only(run: Run, rows: npt.NDArray[np.int64]) -> Run:
    if len(rows) == len(run.timestamps):
        return run
    starts = None if run.starts is None else run.starts[rows]
    return Run(np.searchsorted(rows, run.offsets), run.timestamps[rows], run.values[rows], None, starts)
