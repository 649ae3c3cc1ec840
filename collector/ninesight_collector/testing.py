"""For tests of this part and of those above it: a sampler that repeats itself, and the samplers' contract.

check_sampler(HostSampler("here"))
"""

from __future__ import annotations

from collections.abc import Mapping

from ninesight_store.contract import Batch, Labels
from ninesight_store.testing import RecordingSink

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.contract import Health, Sampler

__all__ = ["FixedSampler", "check_sampler", "latest"]


class FixedSampler:
    """A `Sampler` that gives the same values at every look, stamped with the time it is asked at."""

    def __init__(self, values: Mapping[Labels, float], health: Health | None = None) -> None:
        self.values = dict(values)
        self.health_given = health or Health(up=True)
        self._builder = BatchBuilder(marks_stale=True)

    def sample(self, now_ms: int) -> Batch:
        """Return `values` as they are now."""
        for labels, value in self.values.items():
            self._builder.add(labels, now_ms, value)
        return self._builder.batch(now_ms)

    def health(self) -> Health:
        """Return what was given."""
        return self.health_given


def check_sampler(sampler: Sampler, now_ms: int = 1_700_000_000_000) -> Batch:
    """Assert what every sampler promises; return its second batch.

    Two looks: both are taken by a sink that validates, are stamped with the time asked for, have
    labels in order, and share one series table where the series are the same.
    """
    sink = RecordingSink()
    batches = []
    for time_ms in (now_ms, now_ms + 5_000):
        batch = sampler.sample(time_ms)
        sink.write(batch)
        assert set(batch.timestamps.tolist()) <= {time_ms}, "samples must be stamped with the time asked for"
        assert isinstance(sampler.health(), Health)
        for labels in batch.series.labels:
            assert list(labels) == sorted(set(labels)), f"labels must be sorted and appear once: {labels}"
        batches.append(batch)
    first, second = batches
    if first.series.labels == second.series.labels:
        assert first.series is second.series, "an unchanged table must be the same object"
    return second


def latest(batch: Batch) -> dict[Labels, float]:
    """Return the last value of each series of a batch, stale markers included."""
    labels = batch.series.labels
    return {
        labels[row]: value
        for row, value in zip(batch.series_index.tolist(), batch.values.tolist(), strict=True)
    }
