"""The series index: labels by id, found by matchers among the series that are alive in a span.

    slot     0, 1, 2 ... in the order of ids
    pairs    numbers of the slot's label pairs (pair_table.py), one slot after the other
    hours    first and last hour in which the slot has rows: a superset, it never shrinks

A matcher looks only at slots whose hours overlap the span, so series that ended cost nothing but their memory
(about a hundred bytes and the strings that only they have). Dashboards ask the same selectors again and again:
answers are remembered until a series appears or lives on into a new hour.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int32, Int64, Labels, Matcher
from ninesight_store.growing import Growing
from ninesight_store.hashed_slots import HashedSlots, hash_of, hashes_of
from ninesight_store.histograms import gather_slices
from ninesight_store.matchers import CompiledMatcher, compile_matchers
from ninesight_store.pair_table import PairTable
from ninesight_store.selection import Selection, selection_of

__all__ = ["EVER", "IndexState", "SeriesIndex"]

EVER = (-(2**31), 2**31 - 1)
"""Hours without bounds: series without rows are chosen too."""
_NEVER_FIRST, _NEVER_LAST = 2**31 - 1, -(2**31)
_SELECTIONS_BYTES_MAX = 32 * 2**20
Bool = npt.NDArray[np.bool_]
Hours = int | Int32


@dataclass(frozen=True)
class IndexState:
    """What an index knows, as columns. `SeriesIndex.of_state` makes an index of it again."""

    generation: int
    next_id: int
    pairs: tuple[list[str], Int32, list[str]]
    """`PairTable.parts`."""
    ids: Int64
    """[S] ascending."""
    lengths: Int64
    """[S] how many pairs each series has."""
    flat: Int32
    """The pairs of all series, one series after the other."""
    first: Int32
    """[S] first and last hour with rows; first > last where there are none."""
    last: Int32


class SeriesIndex:
    """All series. `Catalog` replaces it when series were dropped. Safe to use from many threads."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.next_id = 1
        self._lock = threading.Lock()
        self._pairs = PairTable()
        self._ids = Growing(np.int64)
        self._offsets = Growing(np.int64, [0])
        self._flat = Growing(np.int32)
        self._first, self._last = Growing(np.int32), Growing(np.int32)
        self._slots = HashedSlots()
        self._hashed = 0
        self._selections: OrderedDict[tuple[tuple[Matcher, ...], tuple[int, int]], Selection] = OrderedDict()
        self._selections_bytes = 0

    def __len__(self) -> int:
        return len(self._ids)

    def numbers(self) -> Int64:
        """Return the ids of all series, ascending."""
        return self._ids.all()

    def id_of(self, labels: Labels) -> int | None:
        """Return the id of a series, None if it is not known."""
        with self._lock:
            slot = self._slot_of(labels)
            return None if slot is None else int(self._ids.all()[slot])

    def labels_of(self, numbers: Sequence[int]) -> tuple[Labels, ...]:
        """Return the labels of these ids, without those that are not known."""
        with self._lock:
            ids = self._ids.all()
            slots = np.searchsorted(ids, numbers)
            known = [
                slot
                for slot, number in zip(slots.tolist(), numbers, strict=True)
                if slot < len(ids) and ids[slot] == number
            ]
            return self._labels_at(np.array(known, np.int64))

    @property
    def pairs(self) -> PairTable:
        """The pairs of all series; whoever calls `add` numbers its pairs here, one thread at a time."""
        return self._pairs

    def extend(self, found: Sequence[tuple[int, Labels]], next_id: int) -> None:
        """Add series in the order of their ids."""
        numbers = [self._pairs.numbers(labels) for _, labels in found]
        lengths = [len(each) for each in numbers]
        self.add([number for number, _ in found], lengths, [*chain.from_iterable(numbers)], next_id)

    def add(self, ids: Sequence[int], lengths: Sequence[int], flat: Sequence[int], next_id: int) -> None:
        """Add series in the order of their ids; each has so many of the pairs whose numbers `flat` lists."""
        first, last = np.full(len(ids), _NEVER_FIRST, np.int32), np.full(len(ids), _NEVER_LAST, np.int32)
        sizes, numbers = np.array(lengths, np.int64), np.array(flat, np.int32)
        self._append(np.array(ids, np.int64), sizes, numbers, first, last)
        self.next_id = max(next_id, self.next_id, int(self._ids.all()[-1]) + 1 if len(self._ids) else 0)

    def _append(self, ids: Int64, lengths: Int64, flat: Int32, first: Int32, last: Int32) -> None:
        with self._lock:
            self._flat.extend(flat)
            self._offsets.extend(int(self._offsets.all()[-1]) + np.cumsum(lengths))
            self._ids.extend(ids)
            self._first.extend(first)
            self._last.extend(last)
            self._forget()

    def alive(self, ids: Int64, first: Hours, last: Hours) -> None:
        """Note that these series have rows from the hour `first` to the hour `last` (one for all, or one each)."""
        with self._lock:
            known = self._ids.all()
            slots = np.searchsorted(known, ids)
            if not len(known) or not len(slots):
                return
            there = known[np.minimum(slots, len(known) - 1)] == ids
            if not there.all():
                slots, (first, last) = slots[there], (_of(first, there), _of(last, there))
            firsts, lasts = self._first.all(), self._last.all()
            if (firsts[slots] > first).any() or (lasts[slots] < last).any():
                np.minimum.at(firsts, slots, first)
                np.maximum.at(lasts, slots, last)
                self._forget()

    def only(self, ids: Int64, generation: int) -> SeriesIndex:
        """Return an index of those of the series whose ids are given, ascending."""
        fresh = SeriesIndex(generation)
        with self._lock:
            slots = np.flatnonzero(selection_of((), np.asarray(ids, np.int64)).among(self._ids.all()))
            edges, positions = gather_slices(self._offsets.all(), slots)
            flat = self._flat.all()[positions]
            used = np.zeros(len(self._pairs) + 1, np.bool_)
            used[flat] = True
            fresh._pairs = self._pairs.only(used[1:])
            columns = self._ids.all()[slots], self._first.all()[slots], self._last.all()[slots]
        numbers, first, last = columns
        fresh._append(numbers, np.diff(edges), np.cumsum(used, dtype=np.int32)[flat], first, last)
        fresh.next_id = self.next_id
        return fresh

    def state(self) -> IndexState:
        """Return what the index knows, as columns of its own."""
        with self._lock:
            lengths, hours = np.diff(self._offsets.all()), (self._first.all().copy(), self._last.all().copy())
            return IndexState(
                self.generation,
                self.next_id,
                self._pairs.parts(),
                self._ids.all(),
                lengths,
                self._flat.all(),
                *hours,
            )

    @classmethod
    def of_state(cls, state: IndexState) -> SeriesIndex:
        """Return the index with this state. Raises ValueError if it is that of no index."""
        columns = (state.ids, state.lengths, state.first, state.last)
        if len({len(column) for column in columns}) != 1 or int(state.lengths.sum()) != len(state.flat):
            raise ValueError("the columns must be of one length")
        fresh = cls(state.generation)
        fresh._pairs = PairTable.of_parts(*state.pairs)
        if len(state.ids):
            rising = (
                bool((np.diff(state.ids) > 0).all()) and 0 < state.ids[0] <= state.ids[-1] < state.next_id
            )
            if not rising or state.lengths.min() < 1:
                raise ValueError("ids must rise, and every series must have labels")
            if not 1 <= state.flat.min() <= state.flat.max() <= len(fresh._pairs):
                raise ValueError("every label must be a pair that is listed")
        fresh._append(state.ids, state.lengths, state.flat, state.first, state.last)
        fresh.next_id = state.next_id
        return fresh

    def selection(self, matchers: Sequence[Matcher], hours: tuple[int, int] = EVER) -> Selection:
        """Return the series that match all matchers and may have rows in these hours. Raises MatcherError."""
        key = (tuple(matchers), hours)
        compiled = compile_matchers(key[0])
        with self._lock:
            known = self._selections.get(key)
            if known is not None:
                self._selections.move_to_end(key)
                return known
            chosen = self._select(compiled, hours)
            self._selections[key] = chosen
            self._selections_bytes += chosen.nbytes
            while self._selections_bytes > _SELECTIONS_BYTES_MAX:
                self._selections_bytes -= self._selections.popitem(last=False)[1].nbytes
            return chosen

    def of_labels(self, series: Sequence[Labels]) -> Selection:
        """Return exactly these series, as far as they are known."""
        known = sorted({labels for labels in series if self.id_of(labels) is not None})
        return selection_of(tuple(known), np.array([self.id_of(labels) for labels in known], np.int64))

    def _forget(self) -> None:
        self._selections.clear()
        self._selections_bytes = 0

    def _slot_of(self, labels: Labels) -> int | None:
        numbers = self._pairs.known(labels)
        if numbers is None:
            return None
        offsets, flat = self._offsets.all(), self._flat.all()
        if self._hashed < len(self._ids):
            # Only who writes asks by labels: a reader never pays for this.
            self._slots.add(hashes_of(flat, offsets[self._hashed :]), self._hashed)
            self._hashed = len(self._ids)
        for slot in self._slots.find(hash_of(numbers)):
            if flat[offsets[slot] : offsets[slot + 1]].tolist() == numbers:
                return slot
        return None

    def _labels_at(self, slots: Int64) -> tuple[Labels, ...]:
        edges, positions = gather_slices(self._offsets.all(), slots)
        flat, cuts = self._flat.all()[positions].tolist(), edges.tolist()
        pairs = self._pairs.pairs
        return tuple(pairs(flat[low:high]) for low, high in pairwise(cuts))

    def _select(self, compiled: Sequence[CompiledMatcher], hours: tuple[int, int]) -> Selection:
        if hours == EVER:
            slots = np.arange(len(self._ids))
        else:
            slots = np.flatnonzero((self._first.all() <= hours[1]) & (self._last.all() >= hours[0]))
        # What is found by looking up numbers goes first: it leaves less for patterns.
        for matcher in sorted(compiled, key=lambda each: each.values is None):
            if len(slots):
                edges, positions = gather_slices(self._offsets.all(), slots)
                slots = slots[self._accepting(matcher, self._flat.all()[positions], edges[:-1])]
        slots = slots[self._ordered(slots)]
        return selection_of(self._labels_at(slots), self._ids.all()[slots])

    def _accepting(self, matcher: CompiledMatcher, flat: Int32, starts: Int64) -> Bool:
        """Return for each series whether it fulfils the matcher; series r has the pairs from `starts[r]` on."""
        if matcher.values is not None:
            numbers = [self._pairs.number(matcher.name, value) for value in matcher.values]
            listed = [number for number in numbers if number is not None]
            hit = np.logical_or.reduceat(_one_of(flat, listed), starts)
            if not matcher.negated and not matcher.accepts_missing:
                return hit
        named = self._pairs.named(flat, matcher.name)
        has = np.logical_or.reduceat(named, starts)
        if matcher.values is None:
            distinct = np.unique(flat[named]).tolist()
            listed = [number for number in distinct if matcher.accepts(self._pairs.value(number))]
            accepted = np.logical_or.reduceat(_one_of(flat, listed), starts)
        else:
            accepted = has & (hit != matcher.negated)
        return accepted | ~has if matcher.accepts_missing else accepted

    def _ordered(self, slots: Int64) -> Int64:
        """Return the order of slots by labels."""
        if len(slots) < 2:
            return np.arange(len(slots))
        edges, positions = gather_slices(self._offsets.all(), slots)
        lengths = np.diff(edges)
        # A row a label position, padded with what is less than any pair: a shorter list sorts first.
        table = np.full((int(lengths.max()), len(slots)), -1, np.int32)
        row = np.repeat(np.arange(len(slots)), lengths)
        table[np.arange(edges[-1]) - np.repeat(edges[:-1], lengths), row] = self._pairs.ranks(
            self._flat.all()[positions]
        )
        return np.lexsort(table[::-1])


def _of(hours: Hours, rows: Bool) -> Hours:
    return hours if isinstance(hours, int) else hours[rows]


def _one_of(flat: Int32, listed: Sequence[int]) -> Bool:
    found: Bool = flat == listed[0] if len(listed) == 1 else np.isin(flat, np.array(listed, np.int32))
    return found
