"""Histories: what a store lives through, drawn from a seed, and what must be in it after each step.

A history is a list of steps (`write`, `group`, `fold`, `seal`, `merge`, `retain`, `keep`, `fill`, `backup`, `restore`,
`reopen`). Late, repeated and stale samples, NaN payloads, new series, histograms of several schemas and metadata are the rule.
Weights are drawn too, so one seed hardly writes and another hardly does anything else (swarm testing). `Truth`
replays the same steps on a `MemoryStore`. Every process draws the same history from the same seed.
"""

from __future__ import annotations

import gzip
import random
import struct
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import ninesight_store.rollup_filler
import ninesight_store.rollup_row
import numpy as np
from ninesight_store import Batch, LocalStore, MemoryStore, Metadata, SeriesTable, StoreSettings, labels_of
from ninesight_store.testing import Point, batch_of, bits_of, exemplars_of

# The chunks of histories are small: those that are worth a rollup shall be among them.
ninesight_store.rollup_row._DENSE = 3
ninesight_store.rollup_row.SAMPLES_MIN = ninesight_store.rollup_filler.SAMPLES_MIN = 20

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(
    seal_after_ms=0, merge_hours=2, retention_ms=8 * HOUR_MS, seal_samples_max=1500, busy_timeout_ms=5000
)
EVER = 2**50
BITS = [0x7FF0000000000002, 0x7FF8000000000000, 0xFFF8000000000123, 0x8000000000000000, 0x7FF0000000000000, 1]
SERIES = [labels_of("m", {"i": str(i)}) for i in range(8)] + [labels_of("h", {"i": str(i)}) for i in range(3)]
SCRAPED = [labels_of("s", {"i": str(i)}) for i in range(6)]
FORMAT_1 = Path(__file__).with_name("format1.db.gz")


@dataclass(frozen=True)
class Step:
    """One thing done to the store. `at_ms` is the time of upkeep, `number` names a copy."""

    verb: str
    batches: tuple[Batch, ...] = ()
    at_ms: int = 0
    number: int = 0


class History:
    """The steps of a seed. An odd seed begins with a file of format 1, which opening upgrades.

    Of three seeds that follow each other one scrapes the same all the time, so that rows are folded.

    Without `copies` nothing is asked that only a file can do.
    """

    def __init__(self, seed: int, length: int = 40, *, copies: bool = True) -> None:
        self.seed, self.copies = seed, copies
        self.old_file = copies and seed % 2 == 1
        self._calm = seed % 3 == 0
        self._dice = random.Random(seed)
        self._now = 3 * HOUR_MS
        self._copies = 0
        weights = {
            "write": 20 if self._calm else 12,
            "group": 3,
            "fold": 8 if self._calm else 2,
            "seal": 4,
            "merge": 3,
            "retain": 2,
            "keep": 2,
            "fill": 2,
            "backup": 1,
            "restore": 1,
            "reopen": 2,
        }
        if not copies:
            del weights["backup"], weights["restore"]
        verbs = list(weights)
        drawn = [weight * self._dice.choice([1, 1, 1, 3]) for weight in weights.values()]
        self._lateness = [0, 0, 0, 15_000] if self._calm else [0, 0, 0, 15_000, 40 * 60_000, 3 * HOUR_MS]
        self._pauses = [0, 1000, 10_000, 60_000] if self._calm else [0, 60_000, 20 * 60_000, HOUR_MS]
        self._table = SeriesTable(tuple(SCRAPED if self._calm else SERIES[:8]))
        self.steps = [self._step(verb) for verb in self._dice.choices(verbs, drawn, k=length)]

    def begin(self, folder: Path) -> None:
        """Lay the file of format 1 down, if this history begins with one."""
        if self.old_file:
            (folder / "store.db").write_bytes(gzip.decompress(FORMAT_1.read_bytes()))

    def _step(self, verb: str) -> Step:
        self._now += self._dice.choice(self._pauses)
        if verb == "write":
            return Step("write", (self._batch(),))
        if verb == "group":
            # Of different series: which of them comes first is for the threads to say.
            return Step("group", tuple(self._own_batch(writer) for writer in range(self._dice.randint(2, 5))))
        if verb == "backup" or (verb == "restore" and not self._copies):
            self._copies += 1
            return Step("backup", number=self._copies)
        if verb == "restore":
            return Step("restore", number=self._copies)
        return Step(verb, at_ms=self._now)

    def _time(self) -> int:
        late = self._dice.choice(self._lateness)
        return self._now - late - self._dice.choice([0, 0, 1, 1000])

    def _value(self) -> float:
        if self._dice.random() < 0.2:
            return float(np.uint64(self._dice.choice(BITS)).view(np.float64))
        return self._dice.choice([0.0, float(self._dice.randint(0, 99)), self._dice.lognormvariate(0, 3)])

    def _point(self) -> Point:
        dice = self._dice
        buckets = {dice.randint(-9, 9): float(dice.randint(0, 99)) for _ in range(dice.randint(0, 5))}
        if dice.random() < 0.2:
            own = {index: count for index, count in buckets.items() if 0 <= index <= 2}
            return Point(3.0, self._value(), own, schema=-53, bounds=(0.1, 2.5))
        return Point(float(dice.randint(0, 999)), self._value(), buckets, schema=dice.randint(-4, 8))

    def _batch(self) -> Batch:
        dice = self._dice
        if dice.random() < (0.85 if self._calm else 0.3):
            # A scrape: the table of before, one timestamp, every series once.
            rows = np.arange(len(self._table), dtype=np.int32)
            times = np.full(len(rows), self._time(), np.int64)
            return Batch(self._table, rows, times, np.array([self._value() for _ in rows]))
        if dice.random() < 0.2:
            return self._dense_batch()
        chosen = dice.sample(SERIES, dice.randint(1, len(SERIES)))
        if dice.random() < 0.3:
            chosen += [
                labels_of("new", {"pod": f"{dice.getrandbits(40):x}"}) for _ in range(dice.randint(1, 60))
            ]
        samples = {
            labels: [
                (self._time(), self._point() if labels[0][1] == "h" else self._value())
                for _ in range(dice.randint(1, 4))
            ]
            for labels in chosen
        }
        about = [Metadata(f"m{dice.randint(0, 3)}", "gauge", "seconds", f"help {dice.random()}")]
        batch = self._with_extras(batch_of(samples, about if dice.random() < 0.3 else ()))
        if dice.random() < 0.1:
            # Larger than the page cache of the process under test: it reaches the file before its commit.
            count = 4000
            rows = np.resize(batch.series_index if len(batch.series_index) else np.zeros(1, np.int32), count)
            times = self._now - np.arange(count, dtype=np.int64) % HOUR_MS
            return replace(
                batch, series_index=rows, timestamps=times, values=np.arange(count) / 7, start_timestamps=None
            )
        return batch

    def _dense_batch(self) -> Batch:
        """Enough samples of few series for their chunks to get rollups."""
        dice = self._dice
        start, count = self._now // 60_000 * 60_000, dice.randint(150, 300)
        names = [*dice.sample(SERIES[:8], 2), dice.choice(SERIES[8:])]
        floats = {labels: [(start + 1000 * at, self._value()) for at in range(count)] for labels in names[:2]}
        buckets = {1: 0.0, 2: 0.0}
        points = []
        for at in range(count):
            buckets = {index: number + dice.randint(0, 3) for index, number in buckets.items()}
            if dice.random() < 0.02:
                buckets = {1: 0.0, 2: 1.0}
            points.append((start + 1000 * at, Point(sum(buckets.values()), at / 4, dict(buckets))))
        return batch_of({**floats, names[2]: points})

    def _with_extras(self, batch: Batch) -> Batch:
        dice = self._dice
        starts = None
        if dice.random() < 0.3:
            starts = np.maximum(0, batch.timestamps - dice.randint(1, HOUR_MS))
        traces = [
            (
                dice.randrange(len(batch.series)),
                {"trace": f"{dice.getrandbits(64):x}"},
                self._value(),
                self._time(),
            )
            for _ in range(dice.choice([0, 0, 1, 4]))
        ]
        return replace(batch, start_timestamps=starts, exemplars=exemplars_of(traces))

    def _own_batch(self, writer: int) -> Batch:
        own = [labels_of("g", {"writer": str(writer), "k": k}) for k in "ab"]
        point = labels_of("gh", {"writer": str(writer)})
        return batch_of(
            {labels: [(self._time(), self._value())] for labels in own}
            | {point: [(self._now, self._point())]}
        )


class Truth:
    """What a history has written after so many steps."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._first = MemoryStore()
        if history.old_file:
            self._first.write(_content_of_format_1())
        self._states: dict[tuple[int, int], object] = {}

    def horizon(self, steps: int) -> int:
        """Return the time before which retention may have dropped anything, after so many steps."""
        kept = [
            step.at_ms - SETTINGS.retention_ms
            for step in self._history.steps[:steps]
            if step.verb == "retain"
        ]
        return max(kept, default=-EVER)

    def state(self, steps: int, horizon: int) -> object:
        """Return what must be read from `horizon` on, after so many steps."""
        key = (steps, horizon)
        if key not in self._states:
            model = MemoryStore()
            model.write(_content_of(self._first))
            for step in self._history.steps[:steps]:
                for batch in step.batches:
                    model.write(batch)
            self._states[key] = state_of(model, horizon)
        return self._states[key]


def state_of(store: LocalStore | MemoryStore, horizon: int) -> object:
    """Return all that a store holds from `horizon` on, bit by bit."""
    traces = {
        entry.series: [
            (one.timestamp_ms, struct.pack("<d", one.value), one.labels) for one in entry.exemplars
        ]
        for entry in store.exemplars([[]], horizon, EVER)
    }
    return bits_of(store.select([], horizon, EVER)), tuple(store.metadata()), traces


def _content_of(store: LocalStore | MemoryStore) -> Batch:
    columns = store.select([], -EVER, EVER)
    rows = np.repeat(np.arange(len(columns.labels), dtype=np.int32), np.diff(columns.offsets))
    table = SeriesTable(columns.labels)
    return Batch(table, rows, columns.timestamps, columns.values, columns.histograms, tuple(store.metadata()))


def _content_of_format_1() -> Batch:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.db"
        path.write_bytes(gzip.decompress(FORMAT_1.read_bytes()))
        with LocalStore(path, read_only=True) as store:
            return _content_of(store)
