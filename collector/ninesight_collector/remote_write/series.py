"""From a request to a Batch: its series placed, what is broken left out and named."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Batch, Int64, Labels, Metadata
from ninesight_store.histograms import take_histograms, with_series

from ninesight_collector.remote_write.book import Placed, SeriesBook
from ninesight_collector.remote_write.exemplars import take_exemplars
from ninesight_collector.remote_write.labels import check_pairs, pairs_v1, pairs_v2, shown
from ninesight_collector.remote_write.messages import KINDS, family_of
from ninesight_collector.remote_write.refusals import LabelsError, Refusals
from ninesight_collector.remote_write.request import RawMetadata, RawRequest
from ninesight_collector.remote_write.settings import ReceiverSettings
from ninesight_collector.remote_write.wire import WireError

__all__ = ["Taken", "Taker"]

_STRINGS_MAX = 500_000
_STRINGS_CHARACTERS_MAX = 64 << 20
_HELP_MAX = 1024
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request came to."""

    batch: Batch
    refusals: Refusals


class Taker:
    """Turns requests into batches, remembering the series of those before. Thread-safe."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._book_v1 = SeriesBook(settings.series_remembered_max)
        self._book_v2 = SeriesBook(settings.series_remembered_max)
        self._strings: dict[str, int] = {}
        self._characters = 0
        self._lock = threading.Lock()

    def take(self, raw: RawRequest, now_ms: int) -> Taken:
        """Return the batch of a request and what of it was refused. Never raises for its content."""
        refusals = Refusals()
        placed = self._place_v1(raw, now_ms) if raw.version == 1 else self._place_v2(raw, now_ms)
        held = np.bincount(raw.samples.owner, minlength=raw.series)
        held += np.bincount(raw.points.columns.series, minlength=raw.series)
        for place, error in placed.refused.items():
            refusals.add(error.reason, str(error), int(held[place]))
        for owner, words in raw.points.refused:
            if placed.rows[owner] >= 0:
                refusals.add("histogram", f"{words} (series {_named(placed, owner)})")
            else:
                refusals.add(placed.refused[owner].reason, str(placed.refused[owner]))
        if raw.version == 2:
            self._refuse_empty(raw, placed, held, refusals)
        return Taken(self._batch(raw, placed, now_ms, refusals), refusals)

    def _batch(self, raw: RawRequest, placed: Placed, now_ms: int, refusals: Refusals) -> Batch:
        samples, points = raw.samples, raw.points
        rows = placed.rows[samples.owner]
        keep = rows >= 0
        keep &= self._timely(samples.timestamps, samples.owner, keep, now_ms, placed, refusals)
        point_rows = placed.rows[points.columns.series]
        keep_points = point_rows >= 0
        keep_points &= self._timely(
            points.columns.timestamps, points.columns.series, keep_points, now_ms, placed, refusals
        )
        histograms = points.columns
        if len(histograms):
            chosen = np.flatnonzero(keep_points)
            histograms = with_series(take_histograms(histograms, chosen), point_rows[chosen].astype(np.int32))
            begun = points.start_timestamps[chosen]
            if begun.any():
                histograms = replace(histograms, start_timestamps=_timely_starts(begun))
        exemplars, lost = take_exemplars(raw, placed, self._settings, now_ms + self._settings.future_ms_max)
        refusals.exemplars_left_out = lost
        starts = samples.start_timestamps[keep]
        return Batch(
            series=placed.table,
            series_index=rows[keep].astype(np.int32),
            timestamps=samples.timestamps[keep],
            values=samples.values[keep],
            histograms=histograms,
            metadata=_metadata(raw.metadata, placed),
            start_timestamps=_timely_starts(starts) if starts.any() else None,
            exemplars=exemplars,
        )

    def _timely(
        self,
        timestamps: Int64,
        owner: npt.NDArray[np.integer],
        keep: Mask,
        now_ms: int,
        placed: Placed,
        refusals: Refusals,
    ) -> Mask:
        ahead = self._settings.future_ms_max
        good = (timestamps <= now_ms + ahead) & (timestamps >= -(2**53))
        bad = np.flatnonzero(~good & keep)
        if len(bad):
            first = int(bad[0])
            refusals.add(
                "timestamp",
                f"a timestamp must be milliseconds, at most {ahead // 1000}s in the future, "
                f"got {int(timestamps[first])} at {now_ms} (series {_named(placed, int(owner[first]))}); "
                "set the sender's clock",
                len(bad),
            )
        return good

    def _refuse_empty(self, raw: RawRequest, placed: Placed, held: Int64, refusals: Refusals) -> None:
        """2.0: every series must hold something. Exemplars alone are taken: Prometheus sends them so."""
        held = held + np.bincount(raw.exemplars.owner, minlength=raw.series)
        for owner, _ in raw.points.refused:
            held[owner] += 1
        empty = np.flatnonzero((held == 0) & (placed.rows >= 0))
        if len(empty):
            refusals.add(
                "empty",
                f"a series must have at least one sample or histogram, {_named(placed, int(empty[0]))} has none",
                0,
            )

    def _place_v1(self, raw: RawRequest, now_ms: int) -> Placed:
        keys = raw.keys

        def read(place: int) -> Labels:
            try:
                return check_pairs(pairs_v1(keys[place]), self._settings)
            except WireError as error:
                raise LabelsError(
                    f"labels must be protobuf, got something else ({error})", "labels"
                ) from error

        return self._book_v1.place(keys, read, now_ms)

    def _place_v2(self, raw: RawRequest, now_ms: int) -> Placed:
        refs, symbols = raw.refs, raw.symbols
        ends = np.cumsum(raw.refs_counts)
        starts = ends - raw.refs_counts

        def read(place: int) -> Labels:
            mine: Sequence[int] = refs[starts[place] : ends[place]].tolist()
            return check_pairs(pairs_v2(symbols, mine), self._settings)

        # References mean nothing beyond their request: keys are made of numbers that do.
        with self._lock:
            known = np.array([*map(self._number, symbols), -1], np.int64)
            outside = (refs < 0) | (refs >= len(symbols))
            flat = known[np.where(outside, len(symbols), refs)].astype("<i4").tobytes()
            keys = [
                flat[4 * low : 4 * high] for low, high in zip(starts.tolist(), ends.tolist(), strict=True)
            ]
            placed = self._book_v2.place(keys, read, now_ms)
            if len(self._strings) > _STRINGS_MAX or self._characters > _STRINGS_CHARACTERS_MAX:
                self._strings, self._characters = {}, 0
                self._book_v2.forget()
            return placed

    def _number(self, symbol: str) -> int:
        found = self._strings.get(symbol)
        if found is None:
            found = self._strings[symbol] = len(self._strings)
            self._characters += len(symbol)
        return found


def _timely_starts(starts: Int64) -> Int64:
    """Return starts that the store takes; one that is no time is not known."""
    kept: Int64 = np.where(np.abs(starts) <= 2**53, starts, 0)
    return kept


def _named(placed: Placed, owner: int) -> str:
    return shown(placed.table.labels[int(placed.rows[owner])])


def _metadata(raw: Sequence[RawMetadata], placed: Placed) -> tuple[Metadata, ...]:
    found: dict[str, Metadata] = {}
    for one in raw:
        kind = KINDS[one.kind] if 0 <= one.kind < len(KINDS) else "unknown"
        metric = one.metric
        if one.owner >= 0:
            row = int(placed.rows[one.owner])
            if row < 0 or not (one.kind or one.help or one.unit):
                continue
            metric = family_of(dict(placed.table.labels[row])["__name__"], kind)
        if metric and metric not in found:
            found[metric] = Metadata(metric, kind, one.unit, one.help[:_HELP_MAX])
    return tuple(found.values())
