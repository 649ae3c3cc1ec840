"""What every store must do, as a class of tests.

A test module subclasses `SinkSourceContract` and gives it a fixture named `store`: a fresh, empty store.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Protocol

import numpy as np

from ninesight_store.builders import Point, batch_of, bits_of, histograms_of, samples_of
from ninesight_store.contract import (
    STALE_BITS,
    Batch,
    Labels,
    Matcher,
    MatchOp,
    Metadata,
    SeriesTable,
    Sink,
    Source,
    labels_of,
)
from ninesight_store.contract_extras import ExtrasContract, raised
from ninesight_store.contract_rollups import RollupContract
from ninesight_store.errors import MatcherError, PermanentError
from ninesight_store.histograms import arrays_of

__all__ = ["SinkSourceContract", "Store"]

_ALL = (-(2**53), 2**53)
_BITS = [STALE_BITS, 0x7FF8000000000000, 0xFFF8000000000001, 0x8000000000000000, 0x7FF0000000000000, 1]


class Store(Sink, Source, Protocol):
    """Both halves of the contract."""


def _equal(name: str, value: str) -> Matcher:
    return Matcher(name, MatchOp.EQUAL, value)


class SinkSourceContract(ExtrasContract, RollupContract):
    """The promises of `Sink` and `Source`, and of rollups, one test each."""

    def test_what_is_written_is_selected(self, store: Store) -> None:
        """A written sample comes back under its labels, sorted by labels and time."""
        b, a = labels_of("up", {"job": "b"}), labels_of("up", {"job": "a"})
        store.write(batch_of({b: [(3000, 3.0), (1000, 1.0)], a: [(2000, 2.0)]}))
        got = samples_of(store.select([_equal("__name__", "up")], *_ALL))
        assert got == {a: [(2000, 2.0)], b: [(1000, 1.0), (3000, 3.0)]}
        assert list(got) == [a, b]

    def test_the_span_is_inclusive(self, store: Store) -> None:
        """Both ends belong to the span, and a series without a sample in it is left out."""
        store.write(batch_of({"m": [(t, float(t)) for t in range(0, 6000, 1000)], "late": [(9000, 1.0)]}))
        got = samples_of(store.select([], 1000, 3000))
        assert got == {labels_of("m"): [(1000, 1000.0), (2000, 2000.0), (3000, 3000.0)]}

    def test_the_sample_written_last_wins(self, store: Store) -> None:
        """The same series and timestamp twice gives the later value, within a batch and across batches."""
        store.write(batch_of({"m": [(1000, 1.0), (1000, 2.0), (2000, 5.0)]}))
        assert samples_of(store.select([], *_ALL)) == {labels_of("m"): [(1000, 2.0), (2000, 5.0)]}
        store.write(batch_of({"m": [(1000, 3.0)]}))
        assert samples_of(store.select([], *_ALL)) == {labels_of("m"): [(1000, 3.0), (2000, 5.0)]}

    def test_values_are_bit_exact(self, store: Store) -> None:
        """NaN payloads, the stale marker, negative zero and infinities come back with the same bits."""
        table = SeriesTable((labels_of("m"),))
        values = np.array(_BITS, np.uint64).view(np.float64)
        count = len(values)
        store.write(Batch(table, np.zeros(count, np.int32), np.arange(count, dtype=np.int64), values))
        assert store.select([], *_ALL).values.view(np.uint64).tolist() == _BITS

    def test_histograms_come_back_whole(self, store: Store) -> None:
        """Native-histogram points keep every field, in every schema, in time order."""
        wide = Point(9, 2.5, {-3: 1, 7: 4}, {2: 3}, schema=6, zero_threshold=1e-9, zero_count=1)
        custom = Point(5, 1.0, {0: 2, 2: 3}, schema=-53, bounds=(0.1, 1.0))
        stale = Point(0, float(np.uint64(STALE_BITS).view(np.float64)))
        store.write(batch_of({"h": [(2000, custom), (1000, wide), (3000, stale)], "m": [(1000, 1.0)]}))
        got = store.select([_equal("__name__", "h")], *_ALL)
        want = histograms_of([(0, 1000, wide), (0, 2000, custom), (0, 3000, stale)])
        assert got.labels == (labels_of("h"),)
        assert got.histogram_offsets.tolist() == [0, 3]
        assert len(got.values) == 0
        for name, array in arrays_of(want).items():
            assert getattr(got.histograms, name).tobytes() == array.tobytes(), name
        assert bits_of(store.select([], 1000, 1000))["labels"] == (labels_of("h"), labels_of("m"))

    def test_a_histogram_replaces_a_float_of_the_same_time(self, store: Store) -> None:
        """One series has one sample a timestamp, whichever kind was written last."""
        store.write(batch_of({"m": [(1000, 1.0), (2000, 2.0)]}))
        store.write(batch_of({"m": [(1000, Point(1, 1.0)), (3000, Point(2, 1.0))]}))
        store.write(batch_of({"m": [(3000, 3.0)]}))
        got = store.select([], *_ALL)
        assert got.timestamps.tolist() == [2000, 3000]
        assert got.histograms.timestamps.tolist() == [1000]

    def test_the_four_matchers(self, store: Store) -> None:
        """=, !=, =~ and !~ choose series; a missing label has the value ""."""
        zones = {"a": "eu-1", "b": "eu-2", "c": "us-1", "d": ""}
        keys = {job: labels_of("up", {"job": job, "zone": zone}) for job, zone in zones.items()}
        store.write(batch_of({labels: [(0, 1.0)] for labels in keys.values()}))

        def jobs(op: MatchOp, value: str, name: str = "zone") -> str:
            found = store.select([_equal("__name__", "up"), Matcher(name, op, value)], *_ALL).labels
            return "".join(dict(labels)["job"] for labels in found)

        assert jobs(MatchOp.EQUAL, "eu-1") == "a"
        assert jobs(MatchOp.EQUAL, "") == "d"
        assert jobs(MatchOp.NOT_EQUAL, "") == "abc"
        assert jobs(MatchOp.NOT_EQUAL, "eu-1") == "bcd"
        assert jobs(MatchOp.REGEX, "eu-.*") == "ab"
        assert jobs(MatchOp.REGEX, "eu|us-1|") == "cd"
        assert jobs(MatchOp.REGEX, ".*") == "abcd"
        assert jobs(MatchOp.REGEX, ".+") == "abc"
        assert jobs(MatchOp.NOT_REGEX, "eu-[0-9]") == "cd"
        assert jobs(MatchOp.NOT_REGEX, ".+") == "d"
        assert jobs(MatchOp.EQUAL, "", "nowhere") == "abcd"
        assert jobs(MatchOp.REGEX, "x", "nowhere") == ""

    def test_a_bad_pattern_is_a_matcher_error(self, store: Store) -> None:
        """Look-around is refused with the pattern in the message, even while the store is empty."""
        error = raised(lambda: store.select([Matcher("job", MatchOp.REGEX, "(?=x)")], *_ALL))
        assert isinstance(error, MatcherError)
        assert "(?=x)" in str(error)

    def test_series_lists_without_reading(self, store: Store) -> None:
        """`series` gives the sorted labels of matching series; an empty selector means all of them."""
        store.write(batch_of({"b": [(0, 1.0)], "a": [(0, 1.0)], "h": [(0, Point(1, 1.0))]}))
        assert store.series([], *_ALL) == (labels_of("a"), labels_of("b"), labels_of("h"))
        assert store.series([_equal("__name__", "b")], *_ALL) == (labels_of("b"),)
        assert store.series([], 10**9, 2 * 10**9) == ()

    def test_metadata_is_kept_by_metric(self, store: Store) -> None:
        """The newest metadata of a metric wins; the answer is sorted by name, and a batch may hold nothing else."""
        store.write(batch_of({}, [Metadata("b", "gauge"), Metadata("a", "counter", "seconds", "old")]))
        store.write(batch_of({"a": [(0, 1.0)]}, [Metadata("a", "counter", "seconds", "new")]))
        want = [Metadata("a", "counter", "seconds", "new"), Metadata("b", "gauge")]
        assert list(store.metadata()) == want

    def test_a_malformed_batch_is_permanent_and_keeps_nothing(self, store: Store) -> None:
        """Misaligned columns and unsorted labels are refused, counted, and leave no trace."""
        good = SeriesTable((labels_of("m"),))
        unsorted = SeriesTable(((("b", "1"), ("a", "2")),))
        one, two = np.zeros(1, np.int64), np.zeros(2, np.int64)
        bad = [
            Batch(good, np.zeros(1, np.int32), two, np.zeros(2)),
            Batch(unsorted, np.zeros(1, np.int32), one, np.zeros(1)),
            Batch(good, np.full(1, 7, np.int32), one, np.zeros(1)),
            Batch(good, np.zeros(1, np.int32), one + 2**60, np.zeros(1)),
        ]
        for batch in bad:
            error = raised(partial(store.write, batch))
            assert isinstance(error, PermanentError)
            assert error.refused >= 1, error
        assert store.select([], *_ALL).labels == ()

    def test_columns_are_read_only(self, store: Store) -> None:
        """Selected columns cannot be changed by the reader."""
        store.write(batch_of({"m": [(0, 1.0)]}))
        columns = store.select([], *_ALL)
        assert not columns.values.flags.writeable
        assert not columns.timestamps.flags.writeable

    def test_many_threads_write_and_read(self, store: Store) -> None:
        """Batches of concurrent writers are all kept, and readers meanwhile see whole batches only."""
        torn: list[int] = []

        def write(writer: int) -> None:
            for tick in range(20):
                pair: dict[Labels | str, list[tuple[int, float | Point]]] = {
                    labels_of("m", {"w": str(writer), "k": k}): [(tick, float(tick))] for k in "ab"
                }
                store.write(batch_of(pair))

        def read() -> None:
            for _ in range(20):
                columns = store.select([], *_ALL)
                torn.extend(n for n in [len(columns.values)] if n % 2)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        threads.append(threading.Thread(target=read))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torn == []
        columns = store.select([], *_ALL)
        assert np.diff(columns.offsets).tolist() == [20] * 8
