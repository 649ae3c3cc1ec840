"""OpenMetrics 1.0 text, as `promtool tsdb create-blocks-from openmetrics` reads it.

The format has no native histograms and no stale markers. Counters may carry exemplars and `_created` lines
(start timestamps); of other metrics both are left out. What is left out is counted. An exemplar stands at the
first sample at or after its timestamp; a sample has room for one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TextIO

import numpy as np

from ninesight_store.contract import STALE_BITS, Columns, Exemplar, Int64, Labels, Metadata
from ninesight_store.export_text import Counted, escaped, metric_name, number, plain, seconds

__all__ = ["OpenMetrics"]

_TEXT_LINES = 10_000


class OpenMetrics:
    """A `SeriesWriter` of OpenMetrics text; series must come grouped by metric."""

    def __init__(self, out: TextIO, known: Iterable[Metadata], series: Sequence[Labels]) -> None:
        self._out = out
        self._known = {entry.metric: entry for entry in known}
        self._names = {metric_name(labels) for labels in series}
        self._current: str | None = None
        self._counter = False
        self.counted = Counted()

    def series(self, columns: Columns, row: int, exemplars: tuple[Exemplar, ...]) -> None:
        """Write the float samples of one series."""
        labels, counted = columns.labels[row], self.counted
        low, high = int(columns.histogram_offsets[row]), int(columns.histogram_offsets[row + 1])
        counted.points_left_out += high - low
        if columns.histograms.start_timestamps is not None:
            counted.starts_left_out += int(np.count_nonzero(columns.histograms.start_timestamps[low:high]))
        low, high = int(columns.offsets[row]), int(columns.offsets[row + 1])
        values, times = columns.values[low:high], columns.timestamps[low:high]
        kept = np.ascontiguousarray(values).view(np.uint64) != STALE_BITS
        counted.stale_left_out += int(len(kept) - kept.sum())
        if not kept.any():
            counted.exemplars_left_out += len(exemplars)
            return
        self._head(metric_name(labels))
        begun = columns.start_timestamps
        starts = None if begun is None else begun[low:high][kept]
        lines = self._lines(labels, plain(values[kept]), times[kept], starts, exemplars)
        for block in _blocks(lines):
            self._out.write("".join(block))
        counted.samples += int(kept.sum())

    def lone(self, _labels: Labels, exemplars: tuple[Exemplar, ...]) -> None:
        """Leave them out: an exemplar stands beside a sample."""
        self.counted.exemplars_left_out += len(exemplars)

    def end(self) -> None:
        """Write the mark that the text is whole."""
        self._out.write("# EOF\n")

    def _lines(
        self,
        labels: Labels,
        values: list[float],
        times: Int64,
        starts: Int64 | None,
        exemplars: tuple[Exemplar, ...],
    ) -> Iterator[str]:
        placed, created = self._placed(times, exemplars), self._created(starts)
        pairs = _pairs(labels)
        name = metric_name(labels)
        short = name.removesuffix("_total")
        for at, (value, time) in enumerate(zip(values, times.tolist(), strict=True)):
            shown = seconds(time)
            yield f"{name}{{{pairs}}} {number(value)} {shown}{placed.get(at, '')}\n"
            if at in created:
                yield f"{short}_created{{{pairs}}} {seconds(created[at])} {shown}\n"

    def _placed(self, times: Int64, exemplars: tuple[Exemplar, ...]) -> dict[int, str]:
        """Return row -> exemplar text; the newest of those that belong to one sample."""
        stamps = times.tolist()
        placed: dict[int, str] = {}
        for one in exemplars:
            at = bisect_left(stamps, one.timestamp_ms)
            if self._counter and at < len(stamps):
                text = f" # {{{_pairs(one.labels)}}} {number(one.value)} {seconds(one.timestamp_ms)}"
                placed[at] = text
        self.counted.exemplars += len(placed)
        self.counted.exemplars_left_out += len(exemplars) - len(placed)
        return placed

    def _created(self, starts: Int64 | None) -> dict[int, int]:
        """Return row -> start timestamp, for the first sample of each counter's life."""
        if starts is None:
            return {}
        if not self._counter:
            self.counted.starts_left_out += int(np.count_nonzero(starts))
            return {}
        before = [0, *starts.tolist()]
        return {at: now for at, (then, now) in enumerate(pairwise(before)) if now and now != then}

    def _head(self, name: str) -> None:
        if name == self._current:
            return
        self._current = name
        entry = self._known.get(name)
        family, kind = name, "unknown"
        if entry is not None and entry.kind == "gauge":
            kind = "gauge"
        elif entry is not None and entry.kind == "counter" and name.endswith("_total"):
            # OpenMetrics names a counter's family without _total; not where that is a metric of its own.
            short = name.removesuffix("_total")
            taken = not self._names.isdisjoint((short, f"{short}_created"))
            family, kind = (name, "unknown") if taken else (short, "counter")
        self._counter = kind == "counter"
        self._out.write(f"# TYPE {family} {kind}\n")
        if entry is not None and entry.help:
            self._out.write(f"# HELP {family} {escaped(entry.help)}\n")


def _pairs(labels: Labels) -> str:
    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels if name != "__name__")


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == _TEXT_LINES:
            yield block
            block = []
    yield block
