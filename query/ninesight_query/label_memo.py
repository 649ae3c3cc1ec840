"""Work on label sets that is done once: a selector that is asked again hands out the very same labels.

Only sequences that are *kept* are remembered: those of stored selectors (`keep_labels`), and what was made of kept
ones. They are known by identity and stay alive as long as what was made of them. Nobody changes a sequence
of labels once it is in a block.

A query asks a dozen times, so looking something up takes no lock and moves nothing: an entry that was used is marked,
and gets a second chance when room is needed (the CLOCK algorithm; Corbato, 1968).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ninesight_store.contract import Labels

__all__ = ["LabelMemo", "keep_labels", "remembered", "remembered_of_two"]

T = TypeVar("T")

_LABELS_MAX = 1_000_000
_OVERHEAD = 16
"""What is remembered of few labels takes memory too, in labels."""


class _Missing:
    """What stands for nothing: None may have been made."""


_MISSING = _Missing()


@dataclass(slots=True)
class _Entry:
    labels: Sequence[Labels]
    made: dict[Hashable, Any] = field(default_factory=dict)
    used: bool = False
    """Since room was needed last."""


class LabelMemo:
    """What was made of kept sequences of labels; what was not used of late is dropped. Safe from many threads."""

    def __init__(self, labels_max: int = _LABELS_MAX) -> None:
        self._labels_max = labels_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Entry] = OrderedDict()
        self._labels = 0

    def __len__(self) -> int:
        """Sequences kept."""
        return len(self._kept)

    def keep(self, labels: Sequence[Labels]) -> None:
        """Remember from now on what is made of these labels."""
        with self._lock:
            self._keep(labels)

    def get(
        self,
        labels: Sequence[Labels],
        what: Hashable,
        make: Callable[[], T],
        labels_of: Callable[[T], Sequence[Labels]] | None = None,
    ) -> T:
        """Return what `make` makes of the labels; it depends on nothing but them and `what`.

        `labels_of` says which labels the result holds, to be kept as well.
        """
        entry = self._kept.get(id(labels))
        if entry is None:
            return make()
        entry.used = True
        known: T | _Missing = entry.made.get(what, _MISSING)
        if not isinstance(known, _Missing):
            return known
        made = make()
        self._add(entry, what, made, labels_of(made) if labels_of else ())
        return made

    def get_of_two(
        self,
        labels: Sequence[Labels],
        others: Sequence[Labels],
        what: Hashable,
        make: Callable[[], T],
        labels_of: Callable[[T], Sequence[Labels]] | None = None,
    ) -> T:
        """Return what `make` makes of both sequences; it is remembered if both are kept."""
        entry, other = self._kept.get(id(labels)), self._kept.get(id(others))
        if entry is None or other is None:
            return make()
        entry.used = other.used = True
        key = (id(others), what)
        # The others are held beside it: nothing else can have got their identity.
        known: tuple[Sequence[Labels], T] | None = entry.made.get(key)
        if known is not None:
            return known[1]
        made = make()
        self._add(entry, key, (others, made), labels_of(made) if labels_of else ())
        return made

    def _add(self, entry: _Entry, what: Hashable, made: object, labels: Sequence[Labels]) -> None:
        with self._lock:
            if self._kept.get(id(entry.labels)) is not entry:
                # Dropped meanwhile.
                return
            if what not in entry.made:
                self._labels += len(entry.labels) + _OVERHEAD
            entry.made[what] = made
            self._keep(labels)
            while self._labels > self._labels_max and self._kept:
                self._drop_one()

    def _drop_one(self) -> None:
        key, entry = next(iter(self._kept.items()))
        if entry.used:
            entry.used = False
            self._kept.move_to_end(key)
            return
        del self._kept[key]
        self._labels -= (len(entry.labels) + _OVERHEAD) * (1 + len(entry.made))

    def _keep(self, labels: Sequence[Labels]) -> None:
        # The empty ones are few objects that everybody shares.
        if labels and id(labels) not in self._kept:
            self._kept[id(labels)] = _Entry(labels)
            self._labels += len(labels) + _OVERHEAD


_MEMO = LabelMemo()


# The process' memo.
keep_labels = _MEMO.keep
remembered = _MEMO.get
remembered_of_two = _MEMO.get_of_two
