"""When the background aggregates: many at once, never too late, at once where somebody waits."""

import threading

import ninesight
from ninesight.aggregate import Aggregator
from ninesight.api import RUNTIME
from ninesight.faults import Faults
from ninesight.lanes import record_ok
from ninesight.rhythm import INTERVAL_S_MAX, INTERVAL_S_MIN, Rhythm
from ninesight.series import ModelSeries
from ninesight.slots import Buffers
from ninesight.testing import isolated, total


def test_few_records_wait_for_company_but_not_for_long():
    """The 20th look aggregates whatever is there."""
    rhythm = Rhythm()
    assert [rhythm.due(3, 1 << 20) for _ in range(41)] == ([False] * 19 + [True]) * 2 + [False]
    assert rhythm.interval_s == INTERVAL_S_MAX


def test_many_records_are_aggregated_at_once():
    """And the looks are counted from there."""
    rhythm = Rhythm()
    assert [rhythm.due(waiting, 1 << 20) for waiting in (2047, 2048, 5000, 0)] == [False, True, True, False]


def test_a_short_buffer_is_emptied_before_it_is_full():
    """A quarter of it is enough, and looks come closer together."""
    rhythm = Rhythm()
    for _ in range(10):
        rhythm.due(0, 1024)
    assert rhythm.interval_s == INTERVAL_S_MAX
    assert rhythm.due(257, 1024)
    assert rhythm.interval_s == INTERVAL_S_MAX / 4
    for _ in range(10):
        assert rhythm.due(900, 1024)
    assert rhythm.interval_s == INTERVAL_S_MIN


def test_the_longest_list_is_found_wherever_it_is():
    """Plain calls, call blocks, stages, failures."""
    with isolated(), RUNTIME.aggregator.lock:

        @ninesight.observe(model="lists")
        def run():
            return 1

        def fails():
            with ninesight.call("lists") as call:
                call.outcome("error")

        def block():
            with ninesight.call("lists"):
                pass

        def staged():
            with ninesight.call("lists") as call, call.stage("inference"):
                pass

        for count, work in enumerate((run, block, fails, staged), 10):
            before = RUNTIME.buffers.longest()
            for _ in range(before + count):
                work()
            assert RUNTIME.buffers.longest() >= before + count


def test_who_reads_sees_everything_at_once(sdk):
    """A scrape does not wait for the background."""
    for count in range(1, 20):
        with ninesight.call("read"):
            pass
        assert total(sdk(), "model_requests_total", model="read") == count


def test_buffers_of_many_dead_threads_are_let_go_of():
    """A server with a thread a request must not fill its memory until the next look that aggregates."""
    with isolated(), RUNTIME.aggregator.lock:

        def work():
            with ninesight.call("threads") as call:
                call.outcome("error")

        for _ in range(40):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert RUNTIME.buffers.longest() >= 40


def test_of_many_series_the_busy_ones_share_the_room():
    """A thousand idle models leave a busy one its room, and one that wakes up enough until it is seen."""
    buffers, faults = Buffers(100_000), Faults()
    aggregator = Aggregator(buffers, faults)
    every = [
        ModelSeries(f"{index}", "1", bounds=(), buckets_max=160, stages_max=1, buffers=buffers, faults=faults)
        for index in range(1_000)
    ]
    for series in every:
        record_ok(series, 0.1, 1)
    idle, busy = every[:2]
    aggregator.drain()
    record_ok(busy, 0.1, 1)
    aggregator.drain()
    for series, calls in ((busy, 20_000), (idle, 4_000)):
        for _ in range(calls):
            record_ok(series, 0.1, 1)
    assert buffers.dropped() == 0
    assert buffers.buffered() == 24_000
    assert idle.lane.limit < busy.lane.limit
