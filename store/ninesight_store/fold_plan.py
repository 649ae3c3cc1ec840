"""Which hot rows are folded into one: only such whose place in the order of writing changes no answer.

    rows of one layout, by id     1 1 1 1 1 | 6 6 6 1 1 1 1 1 1 | 24 24 ...     (batches in each)
    a run of small ones is one    5         | 24                |

Of equal samples the one written last wins, and the order of writing is the order of ids. A folded row takes the id of
the newest row that goes into it, so the older ones move behind all rows between. They may not pass a row that shares
a series with them and overlaps them in time: a fold ends before such a row. Rows of one layout keep their order
within the fold. Rows never cross an hour, so hours are independent; chunks are older than any row.

Rows of equal size class (powers of four batches) are folded, four or more at a time: a sample is written anew once
a class, and few rows of each class remain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int64
from ninesight_store.hot_reader import HotMeta
from ninesight_store.layouts import LayoutTable
from ninesight_store.pieces import weight

__all__ = ["FOLD_MIN", "FoldGroup", "Unit", "planned", "related"]

FOLD_MIN = 4
"""Rows of one size class are folded when there are as many; the classes are powers of it."""
_SAMPLES_MAX = 2**15
"""A folded row holds no more samples: what damage or a read of one series costs stays small."""
_IDS_MAX = 5_000_000
"""Series in the layouts of one hour, each counted as often as it stands; where there are more nothing is folded."""
_PASSED_MAX = 4000
"""A row that passes more rows of related layouts is not looked at more closely; it stays where it is."""

Unit = tuple[int, int]
"""Kind and layout: what is folded together."""


@dataclass(frozen=True)
class FoldGroup:
    """Rows of one unit and hour that become one, in the order of their ids."""

    kind: int
    hour: int
    rows: tuple[HotMeta, ...]


@dataclass(slots=True)
class _Run:
    """Rows that are to be one."""

    rows: list[HotMeta]
    batches: int
    cost: int


def planned(
    hour: int, rows: dict[Unit, list[HotMeta]], layouts: LayoutTable, stay: AbstractSet[Unit] = frozenset()
) -> Iterator[FoldGroup]:
    """Yield what to fold of an hour, given all its rows up to some id, those of each unit by id.

    Units in `stay` are not folded. Raises KeyError for a layout that is not known.
    """
    many = {unit for unit, own in rows.items() if len(own) >= FOLD_MIN and unit not in stay}
    ready = {unit for unit in many if layouts[unit[1]].distinct}
    if not ready:
        return
    relatives = related(sorted(rows), layouts)
    if relatives is None:
        return
    others = _Others(rows, relatives)
    for unit in sorted(ready):
        kind, width = unit[0], len(layouts[unit[1]].ids)
        for part in others.parts(unit, rows[unit]):
            for run in _folded(part, width, weight(kind, 1)):
                yield FoldGroup(kind, hour, tuple(run.rows))


def related(units: Sequence[Unit], layouts: LayoutTable) -> dict[Unit, int] | None:
    """Return for each unit that shares a series with another a number that those have in common.

    Units that share none have none. None where there is too much to compare.
    """
    if sum(len(layouts[number].ids) for _, number in units) > _IDS_MAX:
        return None
    ids = [np.unique(layouts[number].ids) for _, number in units]
    flat = np.concatenate(ids)
    owner = np.repeat(np.arange(len(units)), [len(each) for each in ids])
    _, place, count = np.unique(flat, return_inverse=True, return_counts=True)
    shared = count[place] > 1
    owner, place = owner[shared], np.unique(place[shared], return_inverse=True)[1]
    if not len(owner):
        return {}
    # The lowest number of a unit spreads over common series until it reaches all that hang together.
    lowest = np.arange(len(units))
    while True:
        of_series = np.full(int(place.max()) + 1, len(units))
        np.minimum.at(of_series, place, lowest[owner])
        before = lowest.copy()
        np.minimum.at(lowest, owner, of_series[place])
        if (lowest == before).all():
            return {units[at]: int(lowest[at]) for at in np.unique(owner).tolist()}


class _Others:
    """The rows that a row may not pass: those of related units that overlap it in time."""

    def __init__(self, rows: dict[Unit, list[HotMeta]], relatives: dict[Unit, int]) -> None:
        self._relatives = relatives
        kin: dict[int, list[tuple[int, int, int, Unit]]] = defaultdict(list)
        for unit, number in relatives.items():
            kin[number] += [(row.id, row.start_ms, row.end_ms, unit) for row in rows[unit]]
        self._units = {number: [entry[3] for entry in sorted(found)] for number, found in kin.items()}
        self._spans = {
            number: np.array([entry[:3] for entry in sorted(found)], np.int64)
            for number, found in kin.items()
        }

    def parts(self, unit: Unit, rows: Sequence[HotMeta]) -> Iterator[list[HotMeta]]:
        """Cut the rows of a unit where an older one must not move behind the next."""
        number = self._relatives.get(unit)
        if number is None:
            yield list(rows)
            return
        theirs = np.array([other != unit for other in self._units[number]])
        spans = self._spans[number][theirs]
        part = [rows[0]]
        for row in rows[1:]:
            if _passes(part, row, spans):
                part.append(row)
            else:
                yield part
                part = [row]
        yield part


def _passes(part: Sequence[HotMeta], row: HotMeta, spans: npt.NDArray[np.int64]) -> bool:
    """Whether all rows of a part may move behind the rows between its last and the next one."""
    low, high = np.searchsorted(spans[:, 0], [part[-1].id, row.id])
    passed = spans[low:high]
    if not len(passed):
        return True
    if len(passed) > _PASSED_MAX:
        return False
    starts, ends = _column(part, "start_ms"), _column(part, "end_ms")
    return not bool(((passed[:, 1] <= ends[:, None]) & (passed[:, 2] >= starts[:, None])).any())


def _column(rows: Sequence[HotMeta], name: str) -> Int64:
    return np.array([getattr(row, name) for row in rows], np.int64)


def _folded(rows: Sequence[HotMeta], width: int, cost: int) -> Iterator[_Run]:
    """Yield the runs of rows that are to become one row each; rows that stay as they are are in none."""
    runs = [_Run([row], row.count // width, row.count * cost) for row in rows]
    size = 0
    while any(_class(run) >= size for run in runs):
        runs = list(_joined(runs, size))
        size += 1
    yield from (run for run in runs if len(run.rows) > 1)


def _joined(runs: Sequence[_Run], size: int) -> Iterator[_Run]:
    """Join neighbours up to a size class, where there are enough of that class: what is large is not written anew for little."""
    waiting: list[_Run] = []
    for run in runs:
        small = _class(run) <= size and 2 * run.cost <= _SAMPLES_MAX
        if not small or sum(each.cost for each in waiting) + run.cost > _SAMPLES_MAX:
            yield from _settled(waiting, size, 2 if small else FOLD_MIN)
            waiting = []
        if small:
            waiting.append(run)
        else:
            yield run
    yield from _settled(waiting, size, FOLD_MIN)


def _settled(waiting: Sequence[_Run], size: int, least: int) -> Iterator[_Run]:
    if sum(_class(run) == size for run in waiting) < least:
        yield from waiting
        return
    rows = [row for run in waiting for row in run.rows]
    yield _Run(rows, sum(run.batches for run in waiting), sum(run.cost for run in waiting))


def _class(run: _Run) -> int:
    return (run.batches.bit_length() - 1) // 2
