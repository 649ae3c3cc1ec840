"""Label pairs as numbers: series share them, so a series is a short row of numbers and every string is kept once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

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

    @classmethod
    def of_parts(cls, names: Sequence[str], name_of: Int32, values: Sequence[str]) -> PairTable:
        """Return the table whose `parts` these are. Raises ValueError if they are not those of any table."""
        table = cls()
        if len(name_of) != len(values) or (
            len(values) and not 0 <= name_of.min() <= name_of.max() < len(names)
        ):
            raise ValueError("every pair must have one value and a name that is listed")
        table._pairs = list(zip(map(names.__getitem__, name_of.tolist()), values, strict=True))
        table._numbers = dict(zip(table._pairs, range(1, len(values) + 1), strict=True))
        table._names = {name: (number, name) for number, name in enumerate(names)}
        table._name_of.extend(name_of)
        if len(table._numbers) != len(values) or len(table._names) != len(names):
            raise ValueError("a name or pair must not stand twice")
        return table

    def __len__(self) -> int:
        return len(self._pairs)

    def parts(self) -> tuple[list[str], Int32, list[str]]:
        """Return the names, the place of each pair's name among them, and each pair's value."""
        return list(self._names), self._name_of.all(), [value for _, value in self._pairs]

    def only(self, kept: npt.NDArray[np.bool_]) -> PairTable:
        """Return a table of the pairs that are marked, in their order; pair n has the mark n - 1."""
        fresh = PairTable()
        fresh._pairs = list(compress(self._pairs, kept.tolist()))
        fresh._numbers = dict(zip(fresh._pairs, range(1, len(fresh._pairs) + 1), strict=True))
        used, places = np.unique(self._name_of.all()[kept], return_inverse=True)
        names = list(self._names)
        fresh._names = {names[at]: (number, names[at]) for number, at in enumerate(used.tolist())}
        fresh._name_of.extend(places)
        return fresh

    def numbers(self, labels: Labels) -> list[int]:
        """Return the number of each pair, adding those that are new."""
        return [self._numbers.get(pair) or self._add(pair) for pair in labels]

    def known(self, labels: Labels) -> list[int] | None:
        """Return the number of each pair, None if one of them is not here."""
        find = self._numbers.get
        found = []
        for pair in labels:
            number = find(pair)
            if number is None:
                return None
            found.append(number)
        return found

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
