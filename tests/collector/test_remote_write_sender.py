"""The remote-write sender against receivers that refuse, break, stall and lie: real sockets, real HTTP."""

import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ninesight_collector import Counters
from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward import RemoteWriter, SenderSettings
from ninesight_collector.remote_write import ReceiverSettings, routes
from ninesight_store.contract import Batch, ExemplarColumns, Metadata, ResetHint, SeriesTable, labels_of
from ninesight_store.memory import MemoryStore
from ninesight_store.testing import Point, RecordingSink, batch_of, bits_of

from .write_peer import Peer

NOW_MS = 1_700_000_000_000


@pytest.fixture
def peer():
    """A receiver of both versions."""
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def sending(tmp_path):
    """`sending(peer, **config)` gives a started sender; the queue is always the same folder."""
    begun = []

    def begin(peer, *, start=True, **given):
        config = {"url": peer.url, "name": "p", "backoff_min": "10ms", "backoff_max": "50ms", **given}
        settings = SenderSettings.of(RemoteWriteConfig.model_validate(config))
        sender = RemoteWriter(settings, tmp_path / "q", Counters(), lambda: NOW_MS)
        begun.append(sender)
        if start:
            sender.start()
        return sender

    yield begin
    for sender in begun:
        assert sender.stop(20)


def counted(sender, name, **labels):
    """Return one of the sender's counters."""
    return sender._counters.get(f"remote_write_{name}", target="p", **labels)


def drained(until, sender):
    """Wait until nothing waits."""
    until(lambda: sender._spool.state().records == 0, 30, "the queue being empty")


def floats(series=20, ticks=1, start=0):
    """A batch of `series` gauges at `ticks` times."""
    return batch_of(
        {
            labels_of("m", {"n": str(n)}): [
                (NOW_MS + 1000 * t, float(1000 * n + t)) for t in range(start, start + ticks)
            ]
            for n in range(series)
        }
    )


def expected(series=20, ticks=1):
    """What a receiver must have of `floats`."""
    return {
        labels_of("m", {"n": str(n)}): [(NOW_MS + 1000 * t, float(1000 * n + t)) for t in range(ticks)]
        for n in range(series)
    }


@pytest.mark.parametrize("versions", [(1,), (2,), (1, 2)])
def test_everything_arrives_in_the_version_that_is_taken(until, sending, versions):
    """A receiver of 2.0 gets 2.0, one that answers 415 gets 1.0; each series in its order."""
    peer = Peer(versions)
    try:
        sender = sending(peer)
        for tick in range(5):
            sender.write(floats(start=tick))
        drained(until, sender)
        assert peer.samples() == expected(ticks=5)
        best = max(versions)
        assert all(hasattr(message, "symbols") == (best == 2) for message in peer.taken)
        version = {"1": "0.1.0", "2": "2.0.0"}[str(best)]
        assert peer.headers[-1]["X-Prometheus-Remote-Write-Version"] == version
        assert (counted(sender, "sent_samples_total"), sender.view().up) == (100, True)
        sender.measure()
        assert (counted(sender, "pending_samples"), counted(sender, "lag_seconds")) == (0, 0)
    finally:
        peer.close()


def test_a_receiver_that_reads_2_0_as_1_0_is_found_out(until, sending):
    """It says 204 and keeps nothing: without the headers of 2.0 the same goes again as 1.0, and nothing is lost."""
    peer = Peer()
    judge = peer.judge

    def old(version, body, headers):
        if version == 2:
            return 204, []
        return judge(version, body, headers)

    peer.judge = old
    try:
        for protocol in ("auto", "2.0"):
            peer.taken.clear()
            sender = sending(peer, protocol=protocol)
            sender.write(floats())
            drained(until, sender)
            assert peer.samples() == expected()
            assert sender.stop(10)
    finally:
        peer.close()


def test_415_in_the_middle_turns_to_1_0(until, sending, peer):
    """A receiver that was replaced by an older one gets the same request again as 1.0."""
    sender = sending(peer)
    sender.write(floats())
    drained(until, sender)
    peer.versions = (1,)
    sender.write(floats(start=1))
    drained(until, sender)
    assert peer.samples() == expected(ticks=2)
    assert not hasattr(peer.taken[-1], "symbols")
    assert counted(sender, "failed_samples_total", reason="415") == 0


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_busy_receiver_gets_the_same_again(until, sending, peer, status, caplog):
    """5xx and 429 are tried again until they are taken, in order; the reason is logged once."""
    peer.script = [(status, [])] * 7
    with caplog.at_level(logging.WARNING):
        sender = sending(peer, shards=1)
        sender.write(floats(ticks=3))
        drained(until, sender)
    assert peer.samples() == expected(ticks=3)
    assert counted(sender, "retries_total", reason=str(status)) == 7
    assert sum(f"{status}: words of the receiver" in line for line in caplog.messages) == 1
    assert counted(sender, "failed_samples_total", reason=str(status)) == 0


def test_retry_after_is_waited_for(until, sending, peer):
    """The receiver's own time holds where it is longer than ours."""
    peer.script = [(503, [("Retry-After", "1")])]
    sender = sending(peer, shards=1)
    began = time.monotonic()
    sender.write(floats())
    drained(until, sender)
    assert time.monotonic() - began >= 1.0
    assert peer.tried == 2


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422])
def test_a_refusal_is_never_tried_again(until, sending, peer, status, caplog):
    """Other 4xx cost the request: counted with the status, logged with the receiver's words once, and life goes on."""
    sender = sending(peer, shards=1)
    sender.write(floats(series=1))
    drained(until, sender)
    peer.script = [(status, []), (status, [])]
    with caplog.at_level(logging.WARNING):
        for tick in (1, 2, 3):
            sender.write(floats(series=1, start=tick))
            drained(until, sender)
    assert [time for time, _ in peer.samples()[labels_of("m", {"n": "0"})]] == [NOW_MS, NOW_MS + 3000]
    assert peer.tried == 4
    assert counted(sender, "failed_samples_total", reason=str(status)) == 2
    assert sum("words of the receiver" in line for line in caplog.messages) == 1


def test_one_bad_record_does_not_cost_those_it_rides_with(until, sending, peer):
    """Small batches wait together and go as one request; refused, each goes alone, and only the bad one is lost."""

    def judge_bad(message):
        bad = any(sample.value == 13.0 for one in message.timeseries for sample in one.samples)
        return 400 if bad else 204

    sender = sending(peer, start=False, shards=1)
    for value in range(10, 20):
        sender.write(batch_of({"x": [(NOW_MS + value, float(value))]}))
    peer.script = [(judge_bad, [])] * 20
    sender.start()
    drained(until, sender)
    assert [value for _, value in peer.samples()[labels_of("x")]] == [10, 11, 12, 14, 15, 16, 17, 18, 19]
    assert peer.tried == 11
    assert counted(sender, "failed_samples_total", reason="400") == 1


def test_a_partial_write_counts_what_was_kept(until, sending, peer):
    """400 with the headers of 2.0: so many were written, the rest is lost."""
    sender = sending(peer, shards=1)
    peer.script = [(400, [("X-Prometheus-Remote-Write-Samples-Written", "15")])]
    sender.write(floats(series=20))
    drained(until, sender)
    assert counted(sender, "sent_samples_total") == 15
    assert counted(sender, "failed_samples_total", reason="400") == 5


def test_nobody_there_then_somebody(until, sending):
    """A receiver that is down costs nothing: the queue waits, is seen waiting, and is sent when it comes up."""
    gone = Peer()
    gone.close()
    sender = sending(gone, shards=2)
    sender.write(floats(ticks=2))
    until(lambda: counted(sender, "retries_total", reason="connect") > 2, 20, "some tries")
    sender.measure()
    assert counted(sender, "pending_samples") == 40
    assert (sender.view().up, "connect" in sender.view().error) == (False, True)
    assert sender.stop(10)
    back = Peer()
    try:
        again = sending(back, shards=2)
        drained(until, again)
        assert back.samples() == expected(ticks=2)
    finally:
        back.close()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_login_at_the_start_loses_nothing(until, sending, peer, status):
    """Until the first request is let in nothing is sent, so that nothing can be refused for good."""
    judge = peer.judge
    peer.judge = lambda version, body, headers: (status, [])
    sender = sending(peer)
    sender.write(floats())
    until(lambda: counted(sender, "retries_total", reason=str(status)) > 2, 20, "some tries")
    peer.judge = judge
    drained(until, sender)
    assert peer.samples() == expected()


def test_a_large_batch_is_cut(until, sending, peer):
    """No request holds more than asked for; each series stays in one shard and in order."""
    sender = sending(peer, shards=3, samples_per_request=100)
    sender.write(floats(series=30, ticks=50))
    drained(until, sender)
    assert peer.samples() == expected(series=30, ticks=50)
    sizes = [sum(len(one.samples) for one in message.timeseries) for message in peer.taken]
    assert max(sizes) <= 100
    assert len(sizes) >= 15


def test_order_holds_while_requests_fail_at_random(until, sending, peer):
    """Whatever fails, the samples of a series never overtake each other."""
    rng = np.random.default_rng(5)
    peer.script = [(503, []) if rng.random() < 0.4 else (204, []) for _ in range(200)]
    sender = sending(peer, shards=4, samples_per_request=20)
    for tick in range(30):
        sender.write(floats(start=tick))
    drained(until, sender)
    assert peer.samples() == expected(ticks=30)


def whole_batch():
    """Floats, both kinds of histograms, exemplars, metadata, start timestamps, odd values."""
    stale = float(np.uint64(0x7FF0000000000002).view(np.float64))
    batch = batch_of(
        {
            labels_of("hits_total", {"model": "ä\n\\"}): [(NOW_MS, 1.0), (NOW_MS + 1000, stale)],
            labels_of("odd"): [(-5, -0.0), (2**50, float("inf"))],
            labels_of("seconds"): [
                (NOW_MS, Point(12, 8.25, {-1: 4, 0: 1, 9: 3}, {3: 2}, 1, 0.001, 2, hint=ResetHint.NOT_RESET)),
                (NOW_MS + 1000, Point(10.5, 8.5, {5: 10.5}, schema=8, hint=ResetHint.GAUGE)),
                (NOW_MS + 2000, Point(0, stale)),
            ],
            labels_of("bytes"): [(NOW_MS, Point(6, 1.0, {0: 1, 1: 2, 2: 3}, schema=-53, bounds=(0.1, 0.5)))],
        },
        [
            Metadata("hits_total", "counter", "", "Hits."),
            Metadata("seconds", "histogram", "seconds", "Waits."),
        ],
    )
    exemplars = ExemplarColumns(
        np.array([0, 2], np.int32),
        np.array([NOW_MS, NOW_MS + 1], np.int64),
        np.array([0.5, 1.5]),
        ((("trace_id", "abc"),), (("trace_id", "def"),)),
    )
    starts = np.array([NOW_MS - 9000, NOW_MS - 9000, 0, 0], np.int64)
    return Batch(
        batch.series,
        batch.series_index,
        batch.timestamps,
        batch.values,
        batch.histograms,
        batch.metadata,
        starts,
        exemplars,
    )


@pytest.mark.parametrize("protocol", ["1.0", "2.0"])
def test_a_batch_arrives_whole_at_our_own_receiver(until, serve, sending, protocol):
    """Bit for bit: what a store has after the way over the wire is what it has without it."""
    direct, far = MemoryStore(), MemoryStore()
    batch = whole_batch()
    direct.write(batch)
    settings = ReceiverSettings(future_ms_max=2**52)
    with serve(routes(far, settings, Counters(), lambda: NOW_MS)) as address:
        peer = type("Address", (), {"url": f"{address}/api/v1/write"})
        sender = sending(peer, protocol=protocol, native_histograms="send")
        sender.write(batch)
        drained(until, sender)
        assert counted(sender, "sent_samples_total") == 8
    mine, theirs = bits_of(direct.select([], -(2**53), 2**53)), bits_of(far.select([], -(2**53), 2**53))
    if protocol == "1.0":
        # 1.0 has no place for these.
        mine = {key: value for key, value in mine.items() if "start" not in key}
        theirs = {key: value for key, value in theirs.items() if "start" not in key}
    assert theirs == mine
    assert tuple(far.metadata()) == tuple(direct.metadata())
    assert far.exemplars([[]], 0, 2**53) == direct.exemplars([[]], 0, 2**53)


def test_histograms_become_classic_where_there_are_no_native_ones(until, sending, peer):
    """Cumulative buckets at exact edges up to +Inf, the sum and the count; custom bounds stay as they are."""
    sender = sending(peer, native_histograms="classic")
    sender.write(whole_batch())
    drained(until, sender)
    found = {labels: dict(points).get(NOW_MS) for labels, points in peer.samples().items()}
    buckets = {
        float(dict(labels)["le"]): value
        for labels, value in found.items()
        if dict(labels)["__name__"] == "seconds_bucket" and value is not None
    }
    # Schema 1: bucket i ends at 2^(i/2); -1 has 4, 0 has 1, 9 has 3; 2 below zero and 2 at zero.
    assert buckets[2**-1.0] == 4
    assert buckets[2**-0.5] == 8
    assert (buckets[1.0], buckets[2**4.0], buckets[2**4.5], buckets[float("inf")]) == (9, 9, 12, 12)
    assert [buckets[bound] for bound in sorted(buckets)] == sorted(buckets.values())
    assert len(buckets) == 13
    assert found[labels_of("seconds_count")] == 12
    assert found[labels_of("seconds_sum")] == 8.25
    custom = {dict(labels)["le"]: value for labels, value in found.items() if "bytes_bucket" in str(labels)}
    assert custom == {"0.1": 1, "0.5": 3, "+Inf": 6}
    assert not any(len(one.histograms) for message in peer.taken for one in message.timeseries)


def test_credentials_go_out_and_never_into_the_log(until, sending, peer, tmp_path, caplog):
    """Basic, bearer, file and headers reach the receiver; errors and views show none of them."""
    (tmp_path / "token").write_text("f1le-s3cret\n")
    ways = {
        "Bearer t0ken-s3cret": {"bearer_token": "t0ken-s3cret"},
        "Bearer f1le-s3cret": {"bearer_token_file": str(tmp_path / "token")},
        "Basic dTpwYXNzLXMzY3JldA==": {"username": "u", "password": "pass-s3cret"},
    }
    with caplog.at_level(logging.DEBUG, logger="ninesight_collector"):
        for header, given in ways.items():
            sender = sending(peer, headers={"X-Scope-OrgID": "tenant-s3cret"}, **given)
            peer.script = [(500, []), (400, [])]
            sender.write(floats())
            drained(until, sender)
            assert peer.headers[-1]["Authorization"] == header
            assert peer.headers[-1]["X-Scope-OrgID"] == "tenant-s3cret"
            assert "s3cret" not in repr((sender.settings, sender.view()))
            assert sender.stop(10)
    assert "s3cret" not in caplog.text


PROGRAM = """
import sys, time
from pathlib import Path
from ninesight_collector import Counters
from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward import RemoteWriter, SenderSettings
from ninesight_store.contract import labels_of
from ninesight_store.testing import batch_of
config = RemoteWriteConfig.model_validate({"url": sys.argv[1], "backoff_min": "5ms", "samples_per_request": 7})
now_ms = lambda: time.time_ns() // 1_000_000
sender = RemoteWriter(SenderSettings.of(config), Path(sys.argv[2]), Counters(), now_ms)
sender.start()
for n in range(int(sys.argv[3]), 10**9):
    sender.write(batch_of({labels_of("x", {"s": str(s)}): [(1_700_000_000_000 + n, float(n))] for s in range(5)}))
    print(n, flush=True)
"""


def test_kill_9_of_a_sending_process_loses_nothing_it_accepted(until, sending, peer, tmp_path):
    """Killed again and again while it writes and sends: what `write` returned for arrives; doubles may."""
    rng = np.random.default_rng(11)
    peer.script = [(503, []) if rng.random() < 0.3 else (204, []) for _ in range(100_000)]
    accepted, start = [], 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, peer.url, str(tmp_path / "q"), str(start)],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [int(process.stdout.readline()) for _ in range(int(rng.integers(20, 150)))]
        process.send_signal(signal.SIGKILL)
        lines += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        process.stdout.close()
        accepted += lines
        start = lines[-1] + 1
    peer.script = []
    sender = sending(peer)
    drained(until, sender)
    found = peer.samples()
    assert len(found) == 5
    for points in found.values():
        assert set(accepted) <= {int(value) for _, value in points}
    assert sum(len(points) for points in found.values()) < 5 * len(accepted) + 4 * 4 * 7 + 5 * 4


def test_a_stop_keeps_the_queue_and_takes_nothing_more(until, sending, tmp_path):
    """A clean end does not wait for a receiver that is down; a sink that is closed says: send again."""
    gone = Peer()
    gone.close()
    sender = sending(gone)
    sender.write(floats())
    assert sender.stop(60)
    with pytest.raises(Exception, match="send the same again"):
        sender.write(floats())


def test_a_series_table_that_grows_keeps_its_shards(until, sending, peer):
    """The shard of a series does not depend on the table it comes in."""
    sender = sending(peer, shards=4)
    labels = [labels_of("m", {"n": str(n)}) for n in range(20)]
    for tick, size in enumerate((20, 7, 20)):
        table = SeriesTable(tuple(labels[:size][::-1]))
        order = np.arange(size, dtype=np.int32)
        times = np.full(size, NOW_MS + 1000 * tick, np.int64)
        sender.write(Batch(table, order, times, order.astype(np.float64)))
    drained(until, sender)
    for points in peer.samples().values():
        times = [time for time, _ in points]
        assert times == sorted(times)


def test_both_sinks_get_everything(until, sending, peer):
    """A fan-out returns when all have it."""
    from ninesight_collector.forward import FanOut

    local = RecordingSink()
    sender = sending(peer)
    FanOut([local, sender]).write(floats())
    drained(until, sender)
    assert len(local.samples) == 20
    assert peer.samples() == expected()


def test_what_one_sink_refuses_the_others_get(until, sending, peer):
    """A sample too old for the own store is sent on all the same; the refusal is told at the end."""
    from ninesight_collector.forward import FanOut
    from ninesight_store.errors import PermanentError, RetryableError

    sender = sending(peer)
    strict = RecordingSink([PermanentError("too old", refused=20)])
    with pytest.raises(PermanentError, match="too old"):
        FanOut([strict, sender]).write(floats())
    drained(until, sender)
    assert peer.samples() == expected()
    with pytest.raises(RetryableError):
        FanOut([RecordingSink([RetryableError("busy")]), sender]).write(floats(start=1))
    assert sender._spool.state().records == 0


def test_a_damaged_record_is_counted_and_the_others_are_sent(until, sending, peer, tmp_path):
    """A flipped bit on the disk costs its record, never the queue."""
    sender = sending(peer, start=False, shards=1)
    for tick in range(3):
        sender.write(floats(start=tick))
    (path,) = (tmp_path / "q").glob("*.q")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    sender.start()
    drained(until, sender)
    assert peer.samples()[labels_of("m", {"n": "0"})] == [(NOW_MS, 0.0), (NOW_MS + 2000, 2.0)]
    assert counted(sender, "dropped_samples_total", reason="damaged") == 20


def test_a_full_queue_drops_the_oldest_and_says_how_much(until, sending, peer, tmp_path):
    """Within a small bound the newest stay; what is sent and what is dropped add up to what was written."""
    rng = np.random.default_rng(9)
    sender = sending(peer, start=False, shards=1, queue_bytes_max=1 << 20)
    labels = SeriesTable(tuple(labels_of("m", {"n": str(n)}) for n in range(5000)))
    rows = np.arange(5000, dtype=np.int32)
    for tick in range(40):
        sender.write(Batch(labels, rows, np.full(5000, NOW_MS + tick, np.int64), rng.random(5000)))
    assert sum(file.stat().st_size for file in (tmp_path / "q").glob("*.q")) <= 1 << 20
    sender.start()
    drained(until, sender)
    dropped = counted(sender, "dropped_samples_total", reason="full")
    assert 0 < dropped < 200_000
    assert counted(sender, "sent_samples_total") == 200_000 - dropped
    assert peer.samples()[labels_of("m", {"n": "0"})][-1][0] == NOW_MS + 39
