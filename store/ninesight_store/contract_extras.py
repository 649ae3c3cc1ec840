"""What every store must do with start timestamps and exemplars, as a class of tests; part of the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from ninesight_store.builders import Point, batch_of, exemplars_of
from ninesight_store.contract import Exemplar, ExemplarColumns, Matcher, MatchOp, Sink, Source, labels_of
from ninesight_store.errors import MatcherError, PermanentError, StoreError

__all__ = ["ExtrasContract", "raised"]

_ALL = (-(2**53), 2**53)


class _Store(Sink, Source, Protocol):
    pass


def _named(name: str) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQUAL, name)]


def raised(call: Callable[[], object]) -> StoreError | None:
    """Return the store's error that the call raises, None if it raises none."""
    try:
        call()
    except StoreError as error:
        return error
    return None


class ExtrasContract:
    """Start timestamps and exemplars, one promise a test."""

    def test_start_timestamps_of_floats_come_back(self, store: _Store) -> None:
        """Each float sample keeps its start timestamp, 0 where it has none, whatever the order of writing."""
        batch = batch_of({"a": [(1000, 1.0), (2000, 2.0), (3000, 1.0)], "b": [(1000, 5.0), (2000, 6.0)]})
        store.write(replace(batch, start_timestamps=np.array([500, 500, 2500, 0, -7], np.int64)))
        store.write(batch_of({"a": [(2500, 3.0)]}))
        got = store.select([], *_ALL)
        assert got.timestamps.tolist() == [1000, 2000, 2500, 3000, 1000, 2000]
        assert got.start_timestamps is not None
        assert got.start_timestamps.tolist() == [500, 500, 0, 2500, 0, -7]
        assert not got.start_timestamps.flags.writeable
        part = store.select([], 2000, 2500)
        assert part.start_timestamps is not None
        assert part.start_timestamps.tolist() == [500, 0, -7]

    def test_the_start_timestamp_written_last_wins(self, store: _Store) -> None:
        """A sample written again replaces its start timestamp as well."""
        batch = batch_of({"a": [(1000, 1.0)]})
        store.write(replace(batch, start_timestamps=np.array([500], np.int64)))
        store.write(replace(batch, start_timestamps=np.array([600], np.int64)))
        got = store.select([], *_ALL)
        assert got.start_timestamps is not None
        assert got.start_timestamps.tolist() == [600]
        store.write(batch)
        assert store.select([], *_ALL).start_timestamps is None

    def test_start_timestamps_that_nobody_gave_are_absent(self, store: _Store) -> None:
        """An answer without any start timestamp carries None, also where other series have some."""
        batch = batch_of({"a": [(1000, 1.0)], "b": [(1000, 1.0)], "h": [(1000, Point(1, 1.0))]})
        store.write(replace(batch, start_timestamps=np.array([0, 900], np.int64)))
        assert store.select(_named("a"), *_ALL).start_timestamps is None
        assert store.select(_named("b"), *_ALL).start_timestamps is not None
        assert store.select(_named("h"), *_ALL).histograms.start_timestamps is None

    def test_start_timestamps_of_histograms_come_back(self, store: _Store) -> None:
        """Each histogram point keeps its start timestamp, and so do the floats beside it."""
        points = [(1000, Point(1, 1.0, {1: 1})), (2000, Point(2, 3.0, {1: 1, 4: 1})), (3000, Point(1, 1.0))]
        batch = batch_of({"h": points, "i": [(1500, Point(1, 2.0))], "f": [(1000, 1.0)]})
        begun = replace(batch.histograms, start_timestamps=np.array([10, 10, 2500, 0], np.int64))
        store.write(replace(batch, histograms=begun))
        got = store.select([], *_ALL).histograms
        assert got.start_timestamps is not None
        assert got.start_timestamps.tolist() == [10, 10, 2500, 0]
        part = store.select(_named("h"), 2000, 3000).histograms
        assert part.start_timestamps is not None
        assert part.start_timestamps.tolist() == [10, 2500]
        assert store.select([], *_ALL).start_timestamps is None

    def test_misaligned_start_timestamps_are_refused(self, store: _Store) -> None:
        """Start timestamps that do not fit their samples make the batch malformed."""
        batch = batch_of({"a": [(1000, 1.0)], "h": [(1000, Point(1, 1.0))]})
        two = np.zeros(2, np.int64)
        bad = [
            replace(batch, start_timestamps=two),
            replace(batch, histograms=replace(batch.histograms, start_timestamps=two)),
            replace(batch, exemplars=ExemplarColumns(np.zeros(2, np.int32), two, np.zeros(2), ())),
            replace(batch, exemplars=exemplars_of([(7, {}, 1.0, 0)])),
        ]
        for one in bad:
            error = raised(partial(store.write, one))
            assert isinstance(error, PermanentError)
            assert error.refused >= 1, error
        assert store.select([], *_ALL).labels == ()

    def test_exemplars_come_back(self, store: _Store) -> None:
        """Exemplars are found by selectors and span, ascending, with their labels, whatever order they came in."""
        rows = [(0, {"trace_id": "b"}, 0.5, 2000), (1, {"trace_id": "x"}, 9.0, 1500), (0, {}, -0.25, 1000)]
        store.write(replace(batch_of({"a": [(1000, 1.0)], "b": [(1000, 1.0)]}), exemplars=exemplars_of(rows)))
        late = exemplars_of([(0, {"span_id": "2", "trace_id": "c"}, 1.5, 1500)])
        store.write(replace(batch_of({"a": []}), exemplars=late))
        found = store.exemplars([_named("a"), _named("b"), _named("a")], *_ALL)
        assert [entry.series for entry in found] == [labels_of("a"), labels_of("b")]
        assert found[0].exemplars == (
            Exemplar((), -0.25, 1000),
            Exemplar((("span_id", "2"), ("trace_id", "c")), 1.5, 1500),
            Exemplar((("trace_id", "b"),), 0.5, 2000),
        )
        (only,) = store.exemplars([_named("a")], 1001, 1999)
        assert [one.value for one in only.exemplars] == [1.5]
        assert store.exemplars([_named("nothing")], *_ALL) == ()
        assert store.exemplars([], *_ALL) == ()

    def test_the_same_exemplar_twice_is_harmless(self, store: _Store) -> None:
        """A double is kept once; others of the same time are kept beside it; the batch is kept."""
        rows = [(0, {"trace_id": "b"}, 0.5, 2000)] * 2
        for _ in range(2):
            store.write(replace(batch_of({"a": [(1000, 1.0)]}), exemplars=exemplars_of(rows)))
        other = [(0, {"trace_id": "c"}, 0.5, 2000)]
        store.write(replace(batch_of({"a": [(2000, 1.0)]}), exemplars=exemplars_of(other)))
        (found,) = store.exemplars([_named("a")], *_ALL)
        assert [dict(one.labels)["trace_id"] for one in found.exemplars] == ["b", "c"]
        assert len(store.select([], *_ALL).values) == 2

    def test_exemplars_whose_value_is_no_number_keep_their_order(self, store: _Store) -> None:
        """NaN is a value like others: exemplars of one timestamp come in the order of their labels, each once."""
        values = {"c": 1.0, "a": float("nan"), "d": 0.5, "b": float("nan")}
        rows = [(0, {"trace_id": trace}, value, 1000) for trace, value in values.items()]
        for _ in range(2):
            store.write(replace(batch_of({"a": [(1000, 1.0)]}), exemplars=exemplars_of(rows)))
        (found,) = store.exemplars([_named("a")], *_ALL)
        assert [dict(one.labels)["trace_id"] for one in found.exemplars] == ["a", "b", "c", "d"]

    def test_an_exemplar_that_does_not_fit_is_left_out(self, store: _Store) -> None:
        """Labels over 128 characters, or a name twice, cost the exemplar and not its batch."""
        rows = [(0, {"trace_id": "x" * 121}, 1.0, 1000), (0, {"trace_id": "x" * 120}, 1.0, 1000)]
        columns = exemplars_of(rows)
        twice = replace(columns, labels=((("a", "1"), ("a", "2")), columns.labels[1]))
        for each in (columns, twice):
            store.write(replace(batch_of({"a": [(1000, 1.0)]}), exemplars=each))
        (found,) = store.exemplars([_named("a")], *_ALL)
        assert len(found.exemplars) == 1
        assert len(store.select([], *_ALL).values) == 1

    def test_exemplars_refuse_a_bad_pattern(self, store: _Store) -> None:
        """A selector that cannot be read is a MatcherError."""
        error = raised(lambda: store.exemplars([[Matcher("job", MatchOp.REGEX, "(?=x)")]], *_ALL))
        assert isinstance(error, MatcherError)
        assert "(?=x)" in str(error)
