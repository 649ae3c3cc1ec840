"""What every store must do with rollups, as a class of tests; part of the contract suite."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from ninesight_store.builders import Point, batch_of
from ninesight_store.contract import STALE_NAN, Int64, Matcher, Sink, Source, labels_of
from ninesight_store.rollup import ROLLUP_COLUMNS, ROLLUP_MS, Rollup

__all__ = ["RollupContract"]

_MINUTE_MS = 60_000


class _Store(Sink, Source, Protocol):
    def rollup(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        edges: Int64,
        columns: Collection[str] = ROLLUP_COLUMNS,
    ) -> Rollup:
        """Return the samples as bins."""


class RollupContract:
    """Bins of samples, one promise a test."""

    def test_bins_are_cut_at_the_grid_and_at_edges(self, store: _Store) -> None:
        """A bin is left-open: a sample at its end is its last; edges cut further; the span's ends are inclusive."""
        times = range(_MINUTE_MS, 2 * ROLLUP_MS + _MINUTE_MS, _MINUTE_MS)
        store.write(batch_of({"m": [(time, float(time // _MINUTE_MS)) for time in times]}))
        got = store.rollup([], 3 * _MINUTE_MS, 20 * _MINUTE_MS, np.array([5 * _MINUTE_MS], np.int64))
        bins = got.bins
        assert got.labels == (labels_of("m"),)
        assert got.offsets.tolist() == [0, 3]
        assert (
            (bins.first_ms // _MINUTE_MS).tolist() == bins.first.tolist() == bins.low.tolist() == [3, 6, 16]
        )
        assert (
            (bins.last_ms // _MINUTE_MS).tolist() == bins.last.tolist() == bins.high.tolist() == [5, 15, 20]
        )
        assert bins.count.tolist() == [3, 10, 5]
        assert bins.sum.tolist() == [12, 105, 90]
        assert bins.lost.tolist() == [0, 0, 0]

    def test_resets_and_markers_are_told(self, store: _Store) -> None:
        """What falls took away is summed up, a marker stands apart, and NaN is no extreme unless all are."""
        falls = [(1000, 5.0), (2000, 2.0), (3000, STALE_NAN), (4000, 1.0), (5000, 7.0)]
        store.write(
            batch_of({"a": falls, "b": [(1000, float("nan")), (2000, 3.0)], "c": [(1000, STALE_NAN)]})
        )
        got = store.rollup([], 0, 10_000, np.zeros(0, np.int64))
        assert got.offsets.tolist() == [0, 1, 2, 2]
        assert (got.bins.lost[0], got.bins.count[0], got.bins.sum[0]) == (7.0, 4, 15.0)
        assert (got.bins.low[1], got.bins.high[1]) == (3.0, 3.0)
        assert got.stale_offsets.tolist() == [0, 1, 1, 2]
        assert got.stale_ms.tolist() == [3000, 1000]

    def test_only_the_columns_asked_for_are_there(self, store: _Store) -> None:
        """A column that was not asked for has no entries; first, last, count and times are always there."""
        store.write(batch_of({"m": [(1000, 1.0), (2000, 4.0)]}))
        bins = store.rollup([], 0, 10_000, np.zeros(0, np.int64), ("sum",)).bins
        assert (bins.first.tolist(), bins.last.tolist(), bins.sum.tolist()) == ([1.0], [4.0], [5.0])
        assert [len(bins.lost), len(bins.low), len(bins.high)] == [0, 0, 0]

    def test_histograms_keep_their_ends(self, store: _Store) -> None:
        """First and last point of a bin are there, and weights count every point, markers apart."""
        points: list[tuple[int, float | Point]] = [
            (at * 1000, Point(at, at / 2, {1: float(at)})) for at in range(1, 10)
        ]
        store.write(batch_of({"h": [*points, (11_000, Point(0, STALE_NAN))]}))
        got = store.rollup([], 0, 20_000, np.zeros(0, np.int64))
        assert got.histogram_offsets.tolist() == [0, len(got.histograms)]
        assert {1000, 9000, 11_000} <= set(got.histograms.timestamps.tolist())
        assert (got.weights.sum(), got.weights[-1]) == (9, 0)
