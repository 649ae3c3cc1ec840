"""Shared range reads: each step once, old answers marked, memory bounded."""

import threading

import numpy as np
import pytest
from ninesight_dashboards.memo import Memo
from ninesight_dashboards.ranges import RangeReader
from ninesight_dashboards.series import Rows, joined
from ninesight_dashboards.testing import FakeEngine, Fleet
from ninesight_dashboards.timerange import Grid
from ninesight_query.contract import labels_of
from ninesight_query.errors import UnavailableError

EXPR = "sum by (model) (rate(model_requests_total[60s]))"
STEP = 5000


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ms=1_000_000_000):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


def grid(end_ms, points=180):
    return Grid(end_ms - (points - 1) * STEP, end_ms, STEP)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine():
    return FakeEngine(Fleet())


def test_a_moving_range_asks_only_for_new_steps(engine, clock):
    """After the first read a refresh evaluates three steps instead of 180."""
    reader = RangeReader(engine, now_ms=clock)
    reader.read(EXPR, grid(clock.now_ms))
    assert reader.steps_evaluated == 180
    for _ in range(10):
        clock.now_ms += STEP
        reader.read(EXPR, grid(clock.now_ms))
    assert reader.steps_evaluated == 180 + 10 * 4


def test_pieces_equal_the_whole(engine, clock):
    """Rows made of an old part and a new tail are the rows of one whole query."""
    reader = RangeReader(engine, now_ms=clock)
    for _ in range(50):
        clock.now_ms += 7300
        end_ms = clock.now_ms // STEP * STEP
        pieces = reader.read(EXPR, grid(end_ms)).rows
    whole = RangeReader(engine, now_ms=clock).read(EXPR, grid(end_ms)).rows
    assert pieces.labels == whole.labels
    np.testing.assert_array_equal(pieces.values, whole.values)


def test_several_browsers_cost_one_read(engine, clock):
    """Two ranges of the same step and many readers share the answers."""
    reader = RangeReader(engine, now_ms=clock)
    threads = [threading.Thread(target=reader.read, args=(EXPR, grid(clock.now_ms))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.read(EXPR, grid(clock.now_ms, points=60))
    assert len(engine.calls) == 1


def test_a_shorter_range_does_not_throw_away_a_longer_one(engine, clock):
    """A browser at 5 m beside one at 15 m leaves the longer one's steps in place."""
    reader = RangeReader(engine, now_ms=clock)
    reader.read(EXPR, grid(clock.now_ms))
    for _ in range(5):
        clock.now_ms += STEP
        reader.read(EXPR, grid(clock.now_ms, points=60))
        reader.read(EXPR, grid(clock.now_ms))
    assert reader.steps_evaluated < 180 + 5 * 10


def test_late_data_is_seen(engine, clock):
    """The last two steps are read again, and everything after ten minutes."""
    reader = RangeReader(engine, now_ms=clock)
    reader.read(EXPR, grid(clock.now_ms))
    clock.now_ms += 600_000
    reader.read(EXPR, grid(clock.now_ms))
    assert reader.steps_evaluated == 360


def test_a_failure_keeps_the_old_rows(engine, clock):
    """The answer is marked with the error and the time of the last good one, and heals."""
    reader = RangeReader(engine, now_ms=clock)
    good = reader.read(EXPR, grid(clock.now_ms))
    before = clock.now_ms
    clock.now_ms += 20_000
    engine.error = UnavailableError("the store cannot be opened")
    stale = reader.read(EXPR, grid(clock.now_ms))
    assert (stale.error, stale.at_ms) == ("the store cannot be opened", before)
    assert stale.rows.labels == good.rows.labels
    assert np.isnan(stale.rows.values[:, -4:]).all()
    engine.error = None
    assert reader.read(EXPR, grid(clock.now_ms)).error == ""


def test_a_failure_without_old_rows_says_so(engine, clock):
    """There is nothing to show, and the reason is there."""
    engine.error = UnavailableError("down")
    reading = RangeReader(engine, now_ms=clock).read(EXPR, grid(clock.now_ms))
    assert (reading.rows, reading.error) == (None, "down")


def test_the_cache_is_bounded(engine, clock):
    """Addresses typed by anyone do not fill memory."""
    reader = RangeReader(engine, now_ms=clock, entries_max=8)
    for number in range(50):
        reader.read(f"{EXPR} * {number}", grid(clock.now_ms, points=10))
    assert len(reader) == 8


def test_joined_rows_prefer_the_newer_reading():
    """Where old and new overlap the new stands; a series that ended keeps its past."""
    a, b = labels_of("", {"model": "a"}), labels_of("", {"model": "b"})
    old = Rows(Grid(0, 2, 1), (a,), np.array([[1.0, 2.0, 3.0]]))
    new = Rows(Grid(2, 3, 1), (b,), np.array([[8.0, 9.0]]))
    both = joined(old, new, Grid(0, 3, 1))
    assert both.labels == (a, b)
    np.testing.assert_array_equal(both.values, [[1, 2, np.nan, np.nan], [np.nan, np.nan, 8, 9]])


def test_a_memo_computes_once_per_stamp(clock):
    """The same stamp is answered from memory, a new one computed, a failed one answered with the old value."""
    memo, made = Memo(now_ms=clock), []

    def compute():
        made.append(1)
        if len(made) == 3:
            raise UnavailableError("down")
        return len(made)

    assert [memo.get("k", 1, compute).value, memo.get("k", 1, compute).value] == [1, 1]
    clock.now_ms += 1000
    assert memo.get("k", 2, compute).value == 2
    failed = memo.get("k", 3, compute)
    assert (failed.value, failed.error, failed.at_ms) == (2, "down", clock.now_ms)
    assert memo.get("k", 3, compute).value == 4


def test_a_memo_is_bounded(clock):
    """The oldest key leaves."""
    memo = Memo(now_ms=clock, entries_max=4)
    for number in range(20):
        memo.get(number, 0, lambda: 0)
    assert len(memo) == 4
