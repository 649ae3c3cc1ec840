"""Our own counters as samples."""

from __future__ import annotations

from collections.abc import Callable

from ninesight_store.contract import Batch, Metadata, labels_of

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.contract import Health
from ninesight_collector.counters import METRICS, Counters

__all__ = ["SelfSampler"]

_PREFIX = "ninesight_collector_"


class SelfSampler:
    """Samples `Counters` as `ninesight_collector_*{job="ninesight"}`."""

    def __init__(self, counters: Counters, instance: str, measure: Callable[[], None] = lambda: None) -> None:
        """`measure` brings gauges up to date before they are read."""
        self._measure = measure
        self._counters = counters
        self._instance = instance
        self._builder = BatchBuilder()
        for name, declared in METRICS.items():
            self._builder.describe(Metadata(_PREFIX + name, declared.kind, help=declared.help))

    def sample(self, now_ms: int) -> Batch:
        """Return one sample per counter."""
        self._measure()
        own = {"job": "ninesight", "instance": self._instance}
        for count in self._counters.snapshot():
            # Our `job` and `instance` say who counts; a counter's own `job` says what was counted.
            named = {f"exported_{key}" if key in own else key: value for key, value in count.labels}
            self._builder.add(labels_of(_PREFIX + count.name, own | named), now_ms, count.value)
        return self._builder.batch(now_ms)

    def health(self) -> Health:
        """We are up while we can say so."""
        return Health(up=True)
