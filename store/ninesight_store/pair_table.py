"""Label pairs as numbers: series share them, so a series is a short row of numbers and every string is kept once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int32, Labels
from ninesight_store.growing import Growing

__all__ = ["PairTable"]

Pair = tuple[str, str]


class PairTable:
    """Pairs by number. Grows only."""

    def __init__(self) -> None:
        self._pairs: list[Pair] = []
        self._numbers: dict[Pair, int] = {}
        self._names: dict[str, tuple[int, str]] = {}
        self._name_of = Growing(np.int32)

    def __len__(self) -> int:
        return len(self._pairs)

    def numbers(self, labels: Labels) -> list[int]:
        """Return the number of each pair, adding those that are new."""
        return [self._numbers.get(pair) or self._add(pair) for pair in labels]

    def pairs(self, numbers: Iterable[int]) -> Labels:
        """Return the pairs with these numbers."""
        every = self._pairs
        return tuple([every[number - 1] for number in numbers])

    def value(self, number: int) -> str:
        """Return the value of a pair."""
        return self._pairs[number - 1][1]

    def number(self, name: str, value: str) -> int | None:
        """Return the number of a pair, None if no series has it."""
        return self._numbers.get((name, value))

    def named(self, numbers: Int32, name: str) -> npt.NDArray[np.bool_]:
        """Return for each pair whether it is of this name."""
        wanted = self._names.get(name)
        if wanted is None:
            return np.zeros(len(numbers), np.bool_)
        found: npt.NDArray[np.bool_] = self._name_of.all()[numbers - 1] == wanted[0]
        return found

    def ranks(self, numbers: Int32) -> Int32:
        """Return numbers that compare as these pairs do (equal pairs, equal numbers)."""
        distinct, places = np.unique(numbers, return_inverse=True)
        pairs = [self._pairs[number - 1] for number in distinct.tolist()]
        order = sorted(range(len(pairs)), key=pairs.__getitem__)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank[places]

    def _add(self, pair: Pair) -> int:
        # Numbers begin at 1, so that `numbers` can ask with `or`.
        number = len(self._pairs) + 1
        # One string for a name, however many pairs have it.
        name, text = self._names.setdefault(pair[0], (len(self._names), pair[0]))
        pair = (text, pair[1])
        self._pairs.append(pair)
        self._numbers[pair] = number
        self._name_of.extend([name])
        return number
