"""Comparing rollups: what a store answers from stored bins and kept points, and what all samples say."""

from __future__ import annotations

import numpy as np
from ninesight_store import ROLLUP_MS, STALE_NAN, Matcher, MatchOp, ResetHint, rollup_of
from ninesight_store.histograms import arrays_of, slice_histograms, take_histograms

ALL = [Matcher("__name__", MatchOp.REGEX, ".+")]
EVER = (-(2**50), 2**50)
STALE = np.float64(STALE_NAN).view(np.uint64)


def folded(rollup, edges):
    """Put bins together again that were split where a chunk ends."""
    bins = rollup.bins
    out = []
    for row, labels in enumerate(rollup.labels):
        last = None
        for at in range(rollup.offsets[row], rollup.offsets[row + 1]):
            one = {name: getattr(bins, name)[at] for name in vars(bins) if len(getattr(bins, name))}
            key = (labels, -(-one["first_ms"] // ROLLUP_MS), sum(edge < one["first_ms"] for edge in edges))
            assert key[1:] == (-(-one["last_ms"] // ROLLUP_MS), sum(edge < one["last_ms"] for edge in edges))
            if last is None or last[0] != key:
                last = (key, one)
                out.append(last)
                continue
            before = last[1]
            assert one["first_ms"] > before["last_ms"]
            if "lost" in one:
                fallen = before["last"] if one["first"] < before["last"] else 0.0
                before["lost"] += one["lost"] + fallen
            if "sum" in one:
                before["sum"] += one["sum"]
            if "low" in one:
                before["low"] = np.fmin(before["low"], one["low"])
            if "high" in one:
                before["high"] = np.fmax(before["high"], one["high"])
            before["count"] += one["count"]
            before["last"], before["last_ms"] = one["last"], one["last_ms"]
    return out


def assert_same(got, want, edges):
    """Compare bins up to where chunks split them, and stale markers exactly."""
    assert got.labels == want.labels
    mine, theirs = folded(got, edges), folded(want, edges)
    assert [key for key, _ in mine] == [key for key, _ in theirs]
    for (key, one), (_, other) in zip(mine, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9, err_msg=f"{key} {name}")
    np.testing.assert_array_equal(got.stale_offsets, want.stale_offsets)
    np.testing.assert_array_equal(got.stale_ms, want.stale_ms)
    assert_same_points(got, want, edges)


def assert_same_points(got, want, edges):
    """The kept points are some of all, with weights that add up, and give the same increase over every bin."""
    for row in range(len(want.labels)):
        low, high = want.histogram_offsets[row : row + 2]
        every = slice_histograms(want.histograms, int(low), int(high))
        low, high = got.histogram_offsets[row : row + 2]
        some = slice_histograms(got.histograms, int(low), int(high))
        assert (some.series == row).all()
        places = np.flatnonzero(np.isin(every.timestamps, some.timestamps))
        taken = arrays_of(take_histograms(every, places))
        for name, array in arrays_of(some).items():
            assert array.tobytes() == taken[name].tobytes(), name
        stale = every.sum.view(np.uint64) == STALE
        assert set(np.flatnonzero(stale)) <= set(places)
        seen = np.cumsum(~stale)[places]
        assert got.weights[low:high].tolist() == np.diff(seen, prepend=0).tolist()
        times = every.timestamps
        cells = np.stack([-(-times // ROLLUP_MS), np.searchsorted(np.array(edges, np.int64), times)])
        for cell in np.unique(cells, axis=1).T if len(times) else ():
            mine = np.flatnonzero((cells == cell[:, None]).all(axis=0) & ~stale)
            if len(mine):
                assert {mine[0], mine[-1]} <= set(places)
                between = places[(places >= mine[0]) & (places <= mine[-1])]
                inside = np.arange(mine[0], mine[-1] + 1)
                assert increase(every, between) == increase(every, inside)


def increase(points, rows):
    """What the points at these rows grew by, neighbour by neighbour: observations and buckets."""
    grown = {}
    for before, after in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
        one, other = contents(points, before), contents(points, after)
        if one is None or other is None:
            continue
        hint = points.hint[after]
        fell = any(one.get(key, 0.0) > other.get(key, 0.0) for key in one if key[0] != "form")
        if hint == ResetHint.RESET or fell or one["form",] != other["form",]:
            one = {}
        for key, count in other.items():
            if key[0] != "form":
                grown[key] = grown.get(key, 0.0) + count - one.get(key, 0.0)
    return {key: count for key, count in grown.items() if count}


def contents(points, row):
    """One point as counts by bucket; None for a stale marker."""
    if points.sum[row : row + 1].view(np.uint64)[0] == STALE:
        return None
    low, high = points.bounds_offsets[row : row + 2]
    form = (int(points.schema[row]), float(points.zero_threshold[row]), points.bounds[low:high].tobytes())
    found = {("form",): form, ("count",): points.count[row], ("zero",): points.zero_count[row]}
    for side in ("positive", "negative"):
        low, high = getattr(points, f"{side}_offsets")[row : row + 2]
        indexes, counts = getattr(points, f"{side}_index"), getattr(points, f"{side}_count")
        found |= {(side, int(indexes[at])): counts[at] for at in range(low, high)}
    return found


def assert_rollup(store, span=EVER, edges=(), names=None):
    """What the store answers is what its samples say."""
    edges = np.array(edges, np.int64)
    asked = (edges,) if names is None else (edges, names)
    assert_same(store.rollup(ALL, *span, *asked), rollup_of(store.select(ALL, *span), *asked), edges.tolist())
