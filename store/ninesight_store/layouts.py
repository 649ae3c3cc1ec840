"""Layouts: ordered lists of series ids that many rows share, so that a row holds nothing but numbers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ninesight_store.contract import Int32, Int64
from ninesight_store.growing import Growing
from ninesight_store.histograms import gather_slices
from ninesight_store.selection import Picks, Selection

__all__ = ["Layout", "LayoutState", "LayoutTable", "distinct_ids", "layout_blob", "layout_digest"]


def layout_blob(ids: Int64) -> bytes:
    """Return the ids as stored: little-endian uint32."""
    return ids.astype("<u4").tobytes()


def layout_digest(blob: bytes) -> bytes:
    """Return the 16 bytes under which a layout is found."""
    return hashlib.blake2b(blob, digest_size=16).digest()


@dataclass(frozen=True)
class Layout:
    """One layout. Immutable."""

    number: int
    ids: Int64
    """Series ids in row order; an id may stand more than once."""

    @classmethod
    def from_blob(cls, number: int, blob: bytes) -> Layout:
        """Read a stored layout."""
        return cls(number, np.frombuffer(blob, "<u4").astype(np.int64))

    @cached_property
    def distinct(self) -> bool:
        """Whether each series stands once."""
        return len(np.unique(self.ids)) == len(self.ids)


def distinct_ids(ids: Int64) -> Int64:
    """Return the distinct ids, ascending. They are dense: marking them is many times faster than sorting."""
    if not len(ids):
        return ids
    low = int(ids.min())
    there = np.zeros(int(ids.max()) - low + 1, np.bool_)
    there[ids - low] = True
    return np.flatnonzero(there) + low


@dataclass(frozen=True)
class LayoutState:
    """What a layout table knows, as columns. `LayoutTable.of_state` makes a table of it again."""

    generation: int
    next_id: int
    seen: tuple[int, int]
    numbers: Int64
    """[L] ascending."""
    lengths: Int64
    """[L] how many series ids each layout has."""
    flat: Int64
    """The series ids of all layouts, one layout after the other."""
    first: Int32
    """[L] first and last hour with rows; first > last where there are none."""
    last: Int32


Lives = tuple[Int64, Int32, Int32]
"""Series ids (one may stand more than once), and the first and last hour in which each may have rows."""


class LayoutTable:
    """All layouts by number, with the hours in which they have rows (a superset, it never shrinks).

    `Catalog` replaces it when layouts were dropped.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.next_id = 1
        self.seen = (0, 0)
        """Highest hot row and chunk whose hours are noted here."""
        self._used: dict[int, Layout] = {}
        self._numbers, self._offsets = Growing(np.int64), Growing(np.int64, [0])
        self._flat = Growing(np.int64)
        self._first, self._last = Growing(np.int32), Growing(np.int32)
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> Layout:
        known = self._used.get(number)
        if known is not None:
            return known
        with self._lock:
            place = self._place(number)
            if place is None:
                raise KeyError(number)
            low, high = self._offsets.all()[place : place + 2].tolist()
            # A copy: a view would keep the whole column as it is now in memory.
            found = self._used[number] = Layout(number, self._flat.all()[low:high].copy())
            return found

    def __contains__(self, number: int) -> bool:
        with self._lock:
            return self._place(number) is not None

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self) -> list[int]:
        """Return the numbers of all layouts."""
        return list(map(int, self._numbers.all().tolist()))

    def extend(self, found: Sequence[Layout], next_id: int) -> None:
        """Add layouts in the order of their numbers; called under the catalog's lock."""
        lengths = np.array([len(layout.ids) for layout in found], np.int64)
        flat = np.concatenate([np.zeros(0, np.int64), *(layout.ids for layout in found)])
        first, last = np.full(len(found), 2**31 - 1, np.int32), np.full(len(found), -(2**31), np.int32)
        self._append(np.array([layout.number for layout in found], np.int64), lengths, flat, first, last)
        self.next_id = max(next_id, found[-1].number + 1 if found else 0)

    def alive(self, numbers: Int64, first: Int32, last: Int32) -> Lives:
        """Note in which hours these layouts have rows; return the lives of series that this prolonged."""
        with self._lock:
            places = self._places(numbers)
            there = places >= 0
            places, first, last = places[there], first[there], last[there]
            firsts, lasts = self._first.all(), self._last.all()
            news = (firsts[places] > first) | (lasts[places] < last)
            np.minimum.at(firsts, places, first)
            np.maximum.at(lasts, places, last)
            return self._lives(places[news], first[news], last[news])

    def lives(self) -> Lives:
        """Return the lives of the series of every layout with rows."""
        with self._lock:
            first, last = self._first.all(), self._last.all()
            places = np.flatnonzero(first <= last)
            return self._lives(places, first[places], last[places])

    def only(self, numbers: Int64, generation: int) -> LayoutTable:
        """Return a table of those of the layouts that are given."""
        fresh = LayoutTable(generation)
        with self._lock:
            places = self._places(np.unique(numbers))
            places = places[places >= 0]
            edges, positions = gather_slices(self._offsets.all(), places)
            columns = (column.all()[places] for column in (self._first, self._last))
            fresh._append(self._numbers.all()[places], np.diff(edges), self._flat.all()[positions], *columns)
        fresh.seen, fresh.next_id = self.seen, self.next_id
        return fresh

    def holding(self, selection: Selection, hours: tuple[int, int]) -> set[int]:
        """Return the numbers of the layouts with rows in these hours and at least one of the chosen series."""
        with self._lock:
            rows = np.flatnonzero((self._first.all() <= hours[1]) & (self._last.all() >= hours[0]))
            edges, positions = gather_slices(self._offsets.all(), rows)
            flat, numbers = self._flat.all()[positions], self._numbers.all()[rows]
        owner = np.repeat(np.arange(len(rows)), np.diff(edges))
        found = np.zeros(len(rows), np.bool_)
        found[owner[selection.among(flat)]] = True
        return set(numbers[found].tolist())

    def picks(self, numbers: Iterable[int], selection: Selection) -> Picks:
        """Return where the chosen series stand in these layouts. Raises KeyError for one that is not here."""
        wanted = np.unique(np.fromiter(numbers, np.int64))
        with self._lock:
            places = self._places(wanted)
            if (places < 0).any():
                raise KeyError(int(wanted[places < 0][0]))
            edges, positions = gather_slices(self._offsets.all(), places)
            flat = self._flat.all()[positions]
        chosen = np.flatnonzero(selection.among(flat))
        owners = np.searchsorted(edges, chosen, "right") - 1
        return Picks(wanted, np.diff(edges), owners, chosen - edges[owners], selection.ranks(flat[chosen]))

    def series_in(self, numbers: Iterable[int]) -> Int64:
        """Return the distinct series ids of these layouts, ascending. Raises KeyError for one that is not here."""
        wanted = np.fromiter(numbers, np.int64)
        with self._lock:
            places = self._places(wanted)
            if (places < 0).any():
                raise KeyError(int(wanted[places < 0][0]))
            _, positions = gather_slices(self._offsets.all(), places)
            return distinct_ids(self._flat.all()[positions])

    def state(self) -> LayoutState:
        """Return what the table knows, as columns of its own."""
        with self._lock:
            return LayoutState(
                self.generation,
                self.next_id,
                self.seen,
                self._numbers.all(),
                np.diff(self._offsets.all()),
                self._flat.all(),
                self._first.all().copy(),
                self._last.all().copy(),
            )

    @classmethod
    def of_state(cls, state: LayoutState) -> LayoutTable:
        """Return the table with this state. Raises ValueError if it is that of no table."""
        columns = (state.numbers, state.lengths, state.first, state.last)
        if len({len(column) for column in columns}) != 1 or int(state.lengths.sum()) != len(state.flat):
            raise ValueError("the columns must be of one length")
        if len(state.numbers) and not (
            (np.diff(state.numbers) > 0).all()
            and 0 < state.numbers[0] <= state.numbers[-1] < state.next_id
            and state.lengths.min() >= 0
        ):
            raise ValueError("numbers must rise")
        fresh = cls(state.generation)
        fresh._append(state.numbers, state.lengths, state.flat, state.first, state.last)
        fresh.next_id, fresh.seen = state.next_id, state.seen
        return fresh

    def _append(self, numbers: Int64, lengths: Int64, flat: Int64, first: Int32, last: Int32) -> None:
        with self._lock:
            self._flat.extend(flat)
            self._numbers.extend(numbers)
            self._first.extend(first)
            self._last.extend(last)
            self._offsets.extend(int(self._offsets.all()[-1]) + np.cumsum(lengths))

    def _places(self, numbers: Int64) -> Int64:
        """Return where these layouts stand, -1 for one that is not here."""
        known = self._numbers.all()
        if not len(known):
            return np.full(len(numbers), -1, np.int64)
        places = np.searchsorted(known, numbers)
        return np.where(known[np.minimum(places, len(known) - 1)] == numbers, places, -1)

    def _place(self, number: int) -> int | None:
        known = self._numbers.all()
        place = int(known.searchsorted(number))
        return place if place < len(known) and known[place] == number else None

    def _lives(self, places: Int64, first: Int32, last: Int32) -> Lives:
        edges, positions = gather_slices(self._offsets.all(), places)
        lengths = np.diff(edges)
        return self._flat.all()[positions], np.repeat(first, lengths), np.repeat(last, lengths)
