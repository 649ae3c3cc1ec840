"""What the collector counts about itself, declared in one table.

Written as `ninesight_collector_<name>` through the sink like any other series.
"""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["METRICS", "Count", "Counters", "Declared"]


class Declared(NamedTuple):
    """One metric of our own: its kind, its label names, its help."""

    kind: str
    labels: tuple[str, ...]
    help: str


METRICS = MappingProxyType(
    {
        "received_samples_total": Declared(
            "counter", ("source",), "Samples accepted and handed to the sink, by source."
        ),
        "rejected_samples_total": Declared(
            "counter", ("source", "reason"), "Samples refused before the sink, by source and reason."
        ),
        "dropped_samples_total": Declared(
            "counter", ("reason",), "Samples taken and then lost: retry buffer full, or refused by the sink."
        ),
        "exemplars_left_out_total": Declared(
            "counter", ("source", "reason"), "Exemplars left out, their samples kept, by source and reason."
        ),
        "otlp_requests_total": Declared("counter", ("code",), "OTLP requests answered, by HTTP status."),
        "remote_write_requests_total": Declared(
            "counter", ("code",), "Remote-write requests answered, by HTTP status."
        ),
        "remote_write_sent_samples_total": Declared(
            "counter", ("target",), "Samples that a remote-write receiver took."
        ),
        "remote_write_sent_bytes_total": Declared(
            "counter", ("target",), "Bytes of requests that a remote-write receiver took, compressed."
        ),
        "remote_write_failed_samples_total": Declared(
            "counter", ("target", "reason"), "Samples that a remote-write receiver refused for good."
        ),
        "remote_write_dropped_samples_total": Declared(
            "counter", ("target", "reason"), "Samples lost from the queue: full, too old, or damaged."
        ),
        "remote_write_retries_total": Declared(
            "counter", ("target", "reason"), "Requests that must be sent again."
        ),
        "remote_write_pending_samples": Declared("gauge", ("target",), "Samples that wait in the queue."),
        "remote_write_pending_bytes": Declared("gauge", ("target",), "Size of the queue on the disk."),
        "remote_write_lag_seconds": Declared(
            "gauge", ("target",), "How long the oldest waiting sample has waited; 0 for an empty queue."
        ),
        "scrapes_total": Declared("counter", ("job",), "Scrapes done, failed ones included."),
        "scrape_failures_total": Declared(
            "counter", ("job", "reason"), "Scrapes that found the target down."
        ),
        "overruns_total": Declared("counter", ("task",), "Turns left out because the one before still ran."),
        "sampler_errors_total": Declared(
            "counter", ("task",), "Looks of a sampler that found something wrong."
        ),
        "sink_retries_total": Declared("counter", (), "Batches the sink refused for now and that were kept."),
        "retry_batches": Declared("gauge", (), "Batches waiting for another try."),
    }
)


class Count(NamedTuple):
    """One counter as read: name without prefix, label pairs, value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Counters:
    """Thread-safe counters. Only names of `METRICS` with exactly their labels are taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
            (name, ()): 0.0 for name, declared in METRICS.items() if not declared.labels
        }

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count up. An amount of 0 makes the series visible."""
        key = _key(name, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[_key(name, labels)] = value

    def get(self, name: str, **labels: str) -> float:
        """Return one value; 0 where nothing was counted yet."""
        with self._lock:
            return self._values.get(_key(name, labels), 0.0)

    def total(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with self._lock:
            return sum(value for (key, _), value in self._values.items() if key == name)

    def snapshot(self) -> tuple[Count, ...]:
        """Return everything counted, sorted."""
        with self._lock:
            values = list(self._values.items())
        return tuple(sorted(Count(name, labels, value) for (name, labels), value in values))


def _key(name: str, labels: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    assert tuple(sorted(labels)) == tuple(sorted(METRICS[name].labels)), (name, labels)
    return name, tuple(sorted(labels.items()))
