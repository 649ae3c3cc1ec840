"""Layouts: ordered lists of series ids that many rows share, so that a row holds nothing but numbers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ninesight_store.contract import Int64
from ninesight_store.growing import Growing
from ninesight_store.histograms import gather_slices
from ninesight_store.selection import Selection

__all__ = ["Layout", "LayoutTable", "distinct_ids", "layout_blob", "layout_digest"]


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


class LayoutTable:
    """All layouts by number, with the hours in which they have rows (a superset, it never shrinks).

    `Catalog` replaces it when layouts were dropped.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.next_id = 1
        self.seen = (0, 0)
        """Highest hot row and chunk whose hours are noted here."""
        self._by_number: dict[int, Layout] = {}
        self._place: dict[int, int] = {}
        self._numbers, self._offsets = Growing(np.int64), Growing(np.int64, [0])
        self._flat = Growing(np.int64)
        self._first, self._last = Growing(np.int32), Growing(np.int32)
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> Layout:
        return self._by_number[number]

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __len__(self) -> int:
        return len(self._by_number)

    def numbers(self) -> list[int]:
        """Return the numbers of all layouts."""
        return list(self._by_number)

    def extend(self, found: Sequence[Layout], next_id: int) -> None:
        """Add layouts; called under the catalog's lock."""
        with self._lock:
            edges = [int(self._offsets.all()[-1])]
            for layout in found:
                self._place[layout.number] = len(self._place)
                self._by_number[layout.number] = layout
                edges.append(edges[-1] + len(layout.ids))
            if found:
                self._flat.extend(np.concatenate([layout.ids for layout in found]))
            self._numbers.extend([layout.number for layout in found])
            self._offsets.extend(edges[1:])
            self._first.extend(np.full(len(found), 2**31 - 1))
            self._last.extend(np.full(len(found), -(2**31)))
            self.next_id = max(next_id, found[-1].number + 1 if found else 0)

    def alive(self, number: int, first: int, last: int) -> bool:
        """Note that a layout has rows from the hour `first` to the hour `last`; return whether that is news."""
        place = self._place.get(number)
        if place is None:
            return False
        with self._lock:
            firsts, lasts = self._first.all(), self._last.all()
            if firsts[place] <= first and lasts[place] >= last:
                return False
            firsts[place], lasts[place] = min(first, firsts[place]), max(last, lasts[place])
            return True

    def hours(self) -> list[tuple[int, int, int]]:
        """Return (number, first hour, last hour) of every layout with rows."""
        first, last = self._first.all(), self._last.all()
        rows = np.flatnonzero(first <= last)
        columns = (self._numbers.all()[rows], first[rows], last[rows])
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def only(self, numbers: set[int], generation: int) -> LayoutTable:
        """Return a table of those of the layouts that are given."""
        fresh = LayoutTable(generation)
        kept = [layout for number, layout in self._by_number.items() if number in numbers]
        fresh.extend(kept, self.next_id)
        fresh.seen = self.seen
        for number, first, last in self.hours():
            fresh.alive(number, first, last)
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

    def series_in(self, numbers: Iterable[int]) -> Int64:
        """Return the distinct series ids of these layouts, ascending."""
        pieces = [self._by_number[number].ids for number in numbers]
        return distinct_ids(np.concatenate(pieces)) if pieces else np.zeros(0, np.int64)
