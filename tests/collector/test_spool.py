"""The queue on the disk: order, durability across kill -9, bounds, damage."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading

import pytest
from ninesight_collector.forward.segment import pack_record
from ninesight_collector.forward.spool import Record, Spool, SpoolSettings
from ninesight_store.errors import RetryableError


class Clock:
    """A time that a test moves."""

    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms


@pytest.fixture
def opened(tmp_path):
    """`with opened(shards=2) as spool:`, always the same folder."""

    @contextlib.contextmanager
    def open_(clock=None, losses=None, **given):
        losses = [] if losses is None else losses
        spool = Spool(
            tmp_path / "q",
            SpoolSettings(**{"shards": 2, **given}),
            now_ms=clock or Clock(),
            dropped=lambda reason, samples: losses.append((reason, samples)),
        )
        try:
            yield spool
        finally:
            spool.close()

    return open_


def record(shard, number, samples=1, size=10):
    """A record whose body says its number."""
    return Record(shard, samples, f"{number:08d}".encode().ljust(size, b"."))


def taken(spool, shard, samples_max=1, count=10_000):
    """Numbers of the records of a shard, taken and done one group after another."""
    found = []
    while len(found) < count and (refs := spool.take(shard, samples_max, 0.0)):
        found += [int(spool.body(ref)[:8]) for ref in refs]
        spool.done(refs)
    return found


def test_records_come_back_in_order_by_shard(opened):
    """Each shard has its own order; what is not done is taken again."""
    with opened() as spool:
        spool.add([record(0, 1), record(1, 2), record(0, 3)])
        spool.add([record(1, 4)])
        (first,) = spool.take(0, 1, 0.0)
        assert spool.take(0, 1, 0.0) == [first]
        assert taken(spool, 0) == [1, 3]
        assert taken(spool, 1) == [2, 4]
        assert spool.take(0, 1, 0.0) == []
        assert spool.state().records == 0


def test_small_records_are_taken_together(opened):
    """Up to the samples asked for, and always at least one."""
    with opened() as spool:
        spool.add([record(0, n, samples=4) for n in range(5)] + [record(0, 5, samples=100)])
        assert [len(spool.take(0, size, 0.0)) for size in (1, 4, 8, 11, 12, 19)] == [1, 1, 2, 2, 3, 4]
        assert taken(spool, 0, 20) == [0, 1, 2, 3, 4, 5]


def test_what_waits_is_there_after_reopening(opened):
    """Done records do not come back, the others do, in order, and new ones follow them."""
    with opened() as spool:
        spool.add([record(n % 2, n) for n in range(10)])
        assert taken(spool, 0, count=2) == [0, 2]
    with opened() as spool:
        spool.add([record(0, 10)])
        assert taken(spool, 0) == [4, 6, 8, 10]
        assert taken(spool, 1) == [1, 3, 5, 7, 9]
    with opened() as spool:
        assert spool.state().records == 0


def test_another_number_of_shards_keeps_the_order(opened):
    """What was cut for two shards is taken one after another by the first, and new records wait for it."""
    with opened(shards=2) as spool:
        spool.add([record(n % 2, n) for n in range(6)])
        assert taken(spool, 1, count=1) == [1]
    with opened(shards=3) as spool:
        spool.add([record(2, 100), record(0, 101)])
        assert spool.take(2, 1, 0.0) == []
        assert taken(spool, 0) == [0, 2, 3, 4, 5, 101]
        assert taken(spool, 2) == [100]
    with opened(shards=2) as spool:
        assert spool.state().records == 0


def test_files_are_deleted_when_done(opened, tmp_path):
    """A segment goes when its last record is done; the queue does not grow for ever."""
    with opened(segment_bytes_max=1000) as spool:
        for n in range(100):
            spool.add([record(0, n, size=200)])
            assert taken(spool, 0) == [n]
        assert len(list((tmp_path / "q").glob("*.q"))) <= 2


def test_too_many_bytes_drop_the_oldest(opened):
    """The oldest files go, what they held is counted, the newest stays in order."""
    losses = []
    with opened(losses=losses, segment_bytes_max=1000, bytes_max=5000) as spool:
        for n in range(100):
            spool.add([record(n % 2, n, samples=3, size=300)])
        assert spool.state().bytes <= 5000
        left = sorted(taken(spool, 0) + taken(spool, 1))
    assert left == list(range(left[0], 100))
    assert losses
    assert {reason for reason, _ in losses} == {"full"}
    assert sum(samples for _, samples in losses) == 3 * left[0]


def test_too_old_is_dropped(opened):
    """A record that has waited longer than it may is counted and never sent."""
    clock, losses = Clock(), []
    with opened(clock, losses, age_s_max=60.0) as spool:
        spool.add([record(0, 1, samples=5), record(1, 2)])
        clock.ms += 50_000
        spool.add([record(0, 3)])
        clock.ms += 11_000
        assert taken(spool, 0) == [3]
    assert sorted(losses) == [("age", 1), ("age", 5)]


def test_a_record_cut_short_is_left_out(opened, tmp_path):
    """What was being written when the machine stopped was never acknowledged; the records before it are whole."""
    with opened() as spool:
        spool.add([record(0, n) for n in range(3)])
    path = min((tmp_path / "q").glob("*.q"))
    whole = path.read_bytes()
    torn = pack_record(0, 1, 1, b"x" * 50)
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        with opened() as spool:
            assert [spool.body(ref)[:8] for ref in spool.take(0, 100, 0.0)] == [
                b"00000000",
                b"00000001",
                b"00000002",
            ]


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_never_sent(opened, tmp_path, seed):
    """Whatever bit is flipped, every body that comes back is one that was added."""
    rng = random.Random(seed)
    with opened() as spool:
        spool.add([record(0, n, size=60) for n in range(5)])
    path = min((tmp_path / "q").glob("*.q"))
    raw = bytearray(path.read_bytes())
    at = rng.randrange(len(raw))
    raw[at] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    with opened() as spool:
        refs = spool.take(0, 100, 0.0)
        bodies = [spool.body(ref) for ref in refs]
    good = {record(0, n, size=60).body for n in range(5)}
    assert {body for body in bodies if body is not None} <= good
    assert len([body for body in bodies if body is not None]) < 5 or at < 8


def test_one_process_at_a_time(opened):
    """A second one is refused: it would send everything once more."""
    with opened(), pytest.raises(OSError), opened():
        pass


def test_a_full_disk_keeps_nothing_and_says_so(opened, monkeypatch):
    """The caller is told to send again, and what was there before is whole."""
    with opened() as spool:
        spool.add([record(0, 1)])
        real = os.pwrite
        with monkeypatch.context() as patch:

            def full(fd, data, at):
                if len(data) > 20 and at > 8:
                    real(fd, data[:7], at)
                    raise OSError(28, "No space left on device")
                return real(fd, data, at)

            patch.setattr(os, "pwrite", full)
            with pytest.raises(RetryableError, match="No space left"):
                spool.add([record(0, 2)])
        spool.add([record(0, 3)])
        assert taken(spool, 0) == [1, 3]


def test_many_writers_and_readers(opened):
    """Writers of many threads share syncs; each shard gives each writer's records in the writer's order."""
    with opened(shards=4, segment_bytes_max=4000) as spool:
        found = [[] for _ in range(4)]

        def write(who):
            for n in range(50):
                spool.add([record(shard, who * 1000 + n) for shard in range(4)])

        def read(shard):
            while len(found[shard]) < 200:
                refs = spool.take(shard, 7, 5.0)
                assert refs, "nothing came for five seconds"
                found[shard] += [int(spool.body(ref)[:8]) for ref in refs]
                spool.done(refs)

        threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
        threads += [threading.Thread(target=read, args=(shard,)) for shard in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for mine in found:
            for who in range(4):
                assert [n % 1000 for n in mine if n // 1000 == who] == list(range(50))


WRITER = """
import sys
from pathlib import Path
from ninesight_collector.forward.spool import Record, Spool, SpoolSettings
spool = Spool(Path(sys.argv[1]), SpoolSettings(shards=2, segment_bytes_max=3000))
start = int(sys.argv[2])
for n in range(start, start + 100_000):
    spool.add([Record(n % 2, 1, b"%08d" % n)])
    print(n, flush=True)
"""


def test_nothing_acknowledged_is_lost_by_kill_9(opened, tmp_path):
    """A process is killed at random moments while it adds; every number it printed is there, in order."""
    rng = random.Random(7)
    acknowledged, start = [], 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "q"), str(start)], stdout=subprocess.PIPE, text=True
        )
        wanted = rng.randint(20, 400)
        lines = [int(process.stdout.readline()) for _ in range(wanted)]
        process.send_signal(signal.SIGKILL)
        rest = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        process.stdout.close()
        acknowledged += lines + rest
        start = acknowledged[-1] + 2
    with opened() as spool:
        found = [taken(spool, shard) for shard in range(2)]
    assert set(acknowledged) <= {n for mine in found for n in mine}
    assert all(mine == sorted(mine) for mine in found)
