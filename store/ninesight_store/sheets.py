"""Sheets: series laid out as matrices, those of one scrape target sharing one row of timestamps.

    rows    [R]     which series
    times   [G, N]  one row a group of series with the same timestamps, FAR_FUTURE behind its end
    owner   [R]     the group of each row, ascending
    values  [R, N]  0.0 behind a row's end

A sample costs 8 bytes and its share of a row of timestamps, half of the flat columns; windows are found once a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ninesight_store.contract import Float64, Int64
from ninesight_store.pieces import Run

__all__ = ["FAR_FUTURE", "DisorderError", "Sheet", "Strip", "appended", "packed", "strips_of_run"]

FAR_FUTURE = int(np.iinfo(np.int64).max)
_OWN_ROWS_MIN = 32
"""Groups from this size on get a sheet of their own: readers take whole columns of it."""


class DisorderError(Exception):
    """What shall be appended is not newer than what is there."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Float samples of some series. Read-only."""

    rows: Int64
    """[R] which series, ascending within each group."""
    times: Int64
    """[G, N] milliseconds, ascending, then FAR_FUTURE."""
    owner: Int64
    """[R] row of `times`, ascending."""
    lengths: Int64
    """[G] samples of each series of the group."""
    values: Float64
    """[R, N]"""

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.rows.nbytes + self.times.nbytes + self.owner.nbytes + self.values.nbytes

    def strips(self) -> Iterator[Strip]:
        """Yield its groups as views."""
        edges = np.searchsorted(self.owner, np.arange(len(self.times) + 1)).tolist()
        for group, (low, high) in enumerate(pairwise(edges)):
            size = int(self.lengths[group])
            yield Strip(self.rows[low:high], [(self.times[group, :size], self.values[low:high, :size])])


@dataclass(frozen=True, eq=False)
class Strip:
    """A group of series with the same timestamps, in spans that follow each other."""

    rows: Int64
    """[R] ascending."""
    spans: list[tuple[Int64, Float64]]
    """Timestamps [n] and values [R, n] of each span."""

    @property
    def length(self) -> int:
        """Samples of each series."""
        return sum(len(times) for times, _ in self.spans)


def strips_of_run(run: Run) -> list[Strip]:
    """Return the series of a run, grouped by their timestamps."""
    memory = np.ascontiguousarray(run.timestamps).view(np.uint8).data
    groups: dict[bytes, list[int]] = {}
    for row, (low, high) in enumerate(pairwise((run.offsets * 8).tolist())):
        if low < high:
            groups.setdefault(bytes(memory[low:high]), []).append(row)
    strips = []
    for members in groups.values():
        rows = np.array(members, np.int64)
        first = int(run.offsets[members[0]])
        size = int(run.offsets[members[0] + 1]) - first
        starts = run.offsets[rows]
        if len(rows) == 1 or (np.diff(starts) == size).all():
            values = run.values[first : first + len(rows) * size].reshape(len(rows), size)
        else:
            values = run.values[starts[:, None] + np.arange(size)]
        strips.append(Strip(rows, [(run.timestamps[first : first + size], values)]))
    return strips


def packed(strips: Sequence[Strip]) -> tuple[Sheet, ...]:
    """Copy strips into sheets: large groups alone, small ones of similar length together."""
    alone = [strip for strip in strips if len(strip.rows) >= _OWN_ROWS_MIN]
    small = sorted((strip for strip in strips if len(strip.rows) < _OWN_ROWS_MIN), key=_length)
    sheets = [_sheet([strip]) for strip in alone]
    begin = 0
    while begin < len(small):
        end = begin + 1
        while end < len(small) and small[end].length <= max(16, 2 * small[begin].length):
            end += 1
        sheets.append(_sheet(small[begin:end]))
        begin = end
    return tuple(sheets)


def _length(strip: Strip) -> int:
    return strip.length


def _sheet(strips: Sequence[Strip]) -> Sheet:
    lengths = np.array([strip.length for strip in strips], np.int64)
    sizes = [len(strip.rows) for strip in strips]
    width = int(lengths.max())
    times = np.full((len(strips), width), FAR_FUTURE, np.int64)
    values = np.zeros((sum(sizes), width))
    low = 0
    for group, strip in enumerate(strips):
        high, at = low + sizes[group], 0
        for stamps, part in strip.spans:
            times[group, at : at + len(stamps)] = stamps
            values[low:high, at : at + len(stamps)] = part
            at += len(stamps)
        low = high
    rows = np.concatenate([strip.rows for strip in strips])
    sheet = Sheet(rows, times, np.repeat(np.arange(len(strips)), sizes), lengths, values)
    for array in (sheet.rows, times, sheet.owner, lengths, values):
        array.flags.writeable = False
    return sheet


def appended(sheets: Sequence[Sheet], run: Run, count: int) -> tuple[Sheet, ...]:
    """Return the sheets with newer samples behind those that are there; series are numbered below `count`.

    Raises DisorderError where a series' new samples are not newer than what it has.
    """
    before = [strip for sheet in sheets for strip in sheet.strips()]
    after = strips_of_run(run)
    old_group, old_place = _places(before, count)
    new_group, new_place = _places(after, count)
    key = (old_group + 1) * (len(after) + 1) + new_group + 1
    order = np.argsort(key, kind="stable")
    order = order[key[order] > 0]
    strips = []
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else ():
        spans: list[tuple[Int64, Float64]] = []
        old, new = int(old_group[rows[0]]), int(new_group[rows[0]])
        if old >= 0:
            times, values = before[old].spans[0]
            spans.append((times, _picked(values, old_place[rows])))
        if new >= 0:
            times, values = after[new].spans[0]
            if spans and times[0] <= spans[0][0][-1]:
                raise DisorderError
            spans.append((times, _picked(values, new_place[rows])))
        strips.append(Strip(rows, spans))
    return packed(strips)


def _places(strips: Sequence[Strip], count: int) -> tuple[Int64, Int64]:
    group, place = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    for number, strip in enumerate(strips):
        group[strip.rows] = number
        place[strip.rows] = np.arange(len(strip.rows))
    return group, place


def _picked(values: Float64, places: Int64) -> Float64:
    """Return some rows; `places` ascend, as rows of a strip do, so that as many as there are is all of them."""
    return values if len(places) == len(values) else values[places]
