"""For tests of this part and of those above it: builders, fakes and the contract suite.

    store = MemoryStore()
    store.write(batch_of({labels_of("up", {"job": "a"}): [(0, 1.0), (15_000, 0.0)]}))

`SinkSourceContract` is what every store passes: subclass it in a test module with a `store` fixture.
"""

from __future__ import annotations

from collections.abc import Iterable

from ninesight_store.builders import Point, batch_of, bits_of, exemplars_of, histograms_of, samples_of
from ninesight_store.contract import Batch, Labels
from ninesight_store.contract_suite import SinkSourceContract
from ninesight_store.memory import MemoryStore
from ninesight_store.validation import check_batch, check_table

__all__ = [
    "MemoryStore",
    "Point",
    "RecordingSink",
    "SinkSourceContract",
    "batch_of",
    "bits_of",
    "exemplars_of",
    "histograms_of",
    "samples_of",
]


class RecordingSink:
    """A `Sink` that keeps every batch in `batches`, and raises what `fail_with` says, once each."""

    def __init__(self, fail_with: Iterable[Exception] = ()) -> None:
        self.batches: list[Batch] = []
        self._failures = list(fail_with)

    def write(self, batch: Batch) -> None:
        """Record the batch, or raise the next planned failure and record nothing."""
        if self._failures:
            raise self._failures.pop(0)
        check_table(batch.series)
        check_batch(batch)
        self.batches.append(batch)

    @property
    def samples(self) -> list[tuple[Labels, int, float]]:
        """Every float sample recorded, in order."""
        return [
            (batch.series.labels[row], time, value)
            for batch in self.batches
            for row, time, value in zip(
                batch.series_index.tolist(), batch.timestamps.tolist(), batch.values.tolist(), strict=True
            )
        ]
