"""Work on label sets that is done once: a selector that is asked again hands out the very same labels.

Keyed by the identity of the sequence of labels, which is kept alive as long as what was made of it. Nobody
changes a sequence of labels once it is in a block.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from ninesight_store.contract import Labels

__all__ = ["LabelMemo", "remembered"]

T = TypeVar("T")

_SMALL = 8
"""Fewer labels are worked on faster than they are looked up."""
_LABELS_MAX = 2_000_000


class LabelMemo:
    """What was made of sequences of labels, the least recently used dropped first. Safe to use from many threads."""

    def __init__(self, labels_max: int = _LABELS_MAX) -> None:
        self._labels_max = labels_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, Hashable], tuple[Sequence[Labels], Any]] = OrderedDict()
        self._labels = 0

    def __len__(self) -> int:
        """Things kept."""
        return len(self._kept)

    def get(self, labels: Sequence[Labels], what: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes of the labels; it depends on nothing but them and `what`."""
        if len(labels) < _SMALL:
            return make()
        key = (id(labels), what)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                made: T = known[1]
                return made
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (labels, made)
                self._labels += len(labels)
            while self._labels > self._labels_max and self._kept:
                self._labels -= len(self._kept.popitem(last=False)[1][0])
        return made


_MEMO = LabelMemo()


def remembered(labels: Sequence[Labels], what: Hashable, make: Callable[[], T]) -> T:
    """Return what `make` makes of the labels, from the process' memo."""
    return _MEMO.get(labels, what, make)
