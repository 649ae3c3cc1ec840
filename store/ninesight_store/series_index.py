"""The series index: labels by id, and for each label value the series that carry it (postings).

A matcher becomes a set of series by looking at the distinct values of its label only; sets are boolean
columns, so and/not cost a pass over bytes. Dashboards ask the same selectors again and again: answers are
remembered until a series appears.
"""

from __future__ import annotations

import hashlib
import json
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int32, Int64, Labels, Matcher
from ninesight_store.matchers import CompiledMatcher, compile_matchers

__all__ = ["LabelReader", "Selection", "SeriesIndex", "labels_from_text", "labels_key", "labels_text"]

_SELECTIONS_BYTES_MAX = 32 * 2**20
_FEW = 4
Bool = npt.NDArray[np.bool_]


def labels_text(labels: Labels) -> str:
    """Return the stored form: a JSON list of [name, value] pairs."""
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def labels_from_text(text: str) -> Labels:
    """Read the stored form."""
    return tuple((name, value) for name, value in json.loads(text))


class LabelReader:
    """Reads stored labels; equal pairs become one object, so a million series hold each pair once."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}

    def read(self, text: str) -> Labels:
        """Return the labels of a stored text. Raises ValueError or TypeError if it is damaged."""
        if "\\" in text or text[:3] != '[["' or text[-3:] != '"]]':
            return tuple(map(self.shared, labels_from_text(text)))
        # Without escapes a quote ends a string, so the text falls apart at `"],["` and nowhere else.
        pairs = self._pairs
        try:
            return tuple([pairs[part] for part in text[3:-3].split('"],["')])
        except KeyError:
            return tuple(map(self.shared, labels_from_text(text)))

    def shared(self, pair: tuple[str, str]) -> tuple[str, str]:
        """Return the one object of this pair."""
        name, value = pair
        part = f'{name}","{value}'
        if '"' in name or '"' in value:
            return pair
        return self._pairs.setdefault(part, pair)


def labels_key(text: str) -> bytes:
    """Return the 16 bytes under which a series is unique."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Selection:
    """The series that a selector chose, sorted by labels."""

    labels: tuple[Labels, ...]
    ids: Int64
    """[S] ids in the order of `labels`."""
    wanted: Bool
    """[highest id + 1] whether the id was chosen."""
    rank: Int32
    """[highest id + 1] row in `labels`; 0 where not chosen."""

    @property
    def nbytes(self) -> int:
        """Memory it holds, the labels themselves left out (the index shares them)."""
        return self.ids.nbytes + self.wanted.nbytes + self.rank.nbytes + 8 * len(self.labels)


class SeriesIndex:
    """All series. Grows only; `Catalog` replaces it when series were dropped. Safe to use from many threads."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.next_id = 1
        self._lock = threading.Lock()
        self.reader = LabelReader()
        """Reads the labels that are added; what they share lives as long as the index."""
        self._ids = array("q")
        self._labels: list[Labels] = []
        self._id_of: dict[Labels, int] = {}
        self._postings: dict[str, dict[str, array[int]]] = {}
        self._order: Int64 = np.zeros(0, np.int64)
        self._selections: OrderedDict[tuple[Matcher, ...], Selection] = OrderedDict()
        self._selections_bytes = 0

    def __len__(self) -> int:
        return len(self._ids)

    def numbers(self) -> list[int]:
        """Return the ids of all series, ascending."""
        return list(self._ids)

    def id_of(self, labels: Labels) -> int | None:
        """Return the id of a series, None if it is not known."""
        return self._id_of.get(labels)

    def labels_of(self, numbers: Sequence[int]) -> tuple[Labels, ...]:
        """Return the labels of these ids, without those that are not known."""
        with self._lock:
            found = [bisect_left(self._ids, number) for number in numbers]
            return tuple(
                self._labels[slot]
                for slot, number in zip(found, numbers, strict=True)
                if slot < len(self._ids) and self._ids[slot] == number
            )

    def extend(self, found: Sequence[tuple[int, Labels]], next_id: int) -> None:
        """Add series in the order of their ids."""
        with self._lock:
            for number, labels in found:
                slot = len(self._ids)
                self._ids.append(number)
                self._labels.append(labels)
                self._id_of[labels] = number
                for name, value in labels:
                    values = self._postings.setdefault(name, {})
                    listed = values.get(value)
                    if listed is None:
                        values[value] = array("i", (slot,))
                    else:
                        listed.append(slot)
            self.next_id = max(next_id, self._ids[-1] + 1 if self._ids else 0)
            self._selections.clear()
            self._selections_bytes = 0

    def selection(self, matchers: Sequence[Matcher]) -> Selection:
        """Return the series that match all matchers. Raises MatcherError."""
        key = tuple(matchers)
        compiled = compile_matchers(key)
        with self._lock:
            known = self._selections.get(key)
            if known is not None:
                self._selections.move_to_end(key)
                return known
            chosen = self._select(compiled)
            self._selections[key] = chosen
            self._selections_bytes += chosen.nbytes
            while self._selections_bytes > _SELECTIONS_BYTES_MAX:
                self._selections_bytes -= self._selections.popitem(last=False)[1].nbytes
            return chosen

    def of_labels(self, series: Sequence[Labels]) -> Selection:
        """Return exactly these series, as far as they are known."""
        known = sorted(labels for labels in set(series) if labels in self._id_of)
        return _selection(tuple(known), np.array([self._id_of[labels] for labels in known], np.int64))

    def _select(self, compiled: Sequence[CompiledMatcher]) -> Selection:
        mask = np.ones(len(self._ids), np.bool_)
        for matcher in compiled:
            mask &= self._matching(matcher)
        slots = self._in_order(mask)
        ids = np.array(self._ids, np.int64)[slots]
        return _selection(tuple(self._labels[slot] for slot in slots.tolist()), ids)

    def _matching(self, matcher: CompiledMatcher) -> Bool:
        values = self._postings.get(matcher.name, {})
        missing = matcher.accepts_missing
        # The smaller side is listed: the values that differ from what a missing label would give.
        mask = np.full(len(self._ids), missing, np.bool_)
        if matcher.values is not None and matcher.negated is missing:
            listed = [value for value in matcher.values if value in values]
        else:
            listed = [value for value in values if matcher.accepts(value) is not missing]
        for value in listed:
            mask[np.array(values[value])] = not missing
        return mask

    def _in_order(self, mask: Bool) -> Int64:
        """Return the chosen slots sorted by labels. Few are sorted by themselves, and never wait for all others."""
        chosen = np.flatnonzero(mask)
        if len(self._order) < len(self._ids) and len(chosen) * _FEW < len(self._ids):
            return np.array(sorted(chosen.tolist(), key=self._labels.__getitem__), np.int64)
        order = self._sorted()
        return order[mask[order]]

    def _sorted(self) -> Int64:
        if len(self._order) < len(self._ids):
            # Timsort is linear on the part that is sorted already.
            slots = [*self._order.tolist(), *range(len(self._order), len(self._ids))]
            slots.sort(key=self._labels.__getitem__)
            self._order = np.array(slots, np.int64)
        return self._order


def _selection(labels: tuple[Labels, ...], ids: Int64) -> Selection:
    top = int(ids.max()) + 1 if len(ids) else 1
    wanted = np.zeros(top, np.bool_)
    wanted[ids] = True
    rank = np.zeros(top, np.int32)
    rank[ids] = np.arange(len(ids))
    return Selection(labels, ids, wanted, rank)
