"""From batches to records of the queue: cut by shard and size, written as compressed 2.0 requests."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Batch, ExemplarColumns, Int32, Labels, Metadata, SeriesTable

from ninesight_collector.forward.encode import V2Encoder
from ninesight_collector.forward.outgoing import parts_of
from ninesight_collector.forward.settings import SenderSettings
from ninesight_collector.forward.spool import Record
from ninesight_collector.remote_write.block import compress
from ninesight_collector.remote_write.messages import family_of

__all__ = ["Cutter"]

_TABLES_MAX = 64
_METRICS_MAX = 50_000
_FAMILIES = ("histogram", "summary")


@dataclass(frozen=True, slots=True)
class _View:
    """What is known of the series of one table."""

    shards: Int32
    metadata: Sequence[Metadata | None]
    shape: bytes


class Cutter:
    """Makes records. Thread-safe."""

    def __init__(self, settings: SenderSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._encoder = V2Encoder()
        self._metadata: dict[str, Metadata] = {}
        self._generation = 0
        """Grows with the metadata: what was made of them is void then."""
        self._views: OrderedDict[bytes, _View] = OrderedDict()

    def records(self, batch: Batch) -> list[Record]:
        """Return the records of a batch."""
        if not self._settings.exemplars:
            batch = replace(batch, exemplars=ExemplarColumns())
        with self._lock:
            self._learn(batch.metadata)
            view = self._view(batch.series)
            parts = parts_of(
                batch, view.shards, self._settings.samples_per_request, view.metadata, view.shape
            )
            return [
                Record(part.shard, part.outgoing.samples, compress(self._encoder.encode(part.outgoing)))
                for part in parts
            ]

    def _learn(self, metadata: Sequence[Metadata]) -> None:
        for one in metadata:
            if self._metadata.get(one.metric) != one and len(self._metadata) < _METRICS_MAX:
                self._metadata[one.metric] = one
                self._generation += 1

    def _view(self, table: SeriesTable) -> _View:
        key = table.digest + self._generation.to_bytes(8, "big")
        found = self._views.get(key)
        if found is None:
            shards = self._settings.spool.shards
            found = self._views[key] = _View(
                np.array([shard_of(labels, shards) for labels in table.labels], np.int32),
                [self._of(labels) for labels in table.labels],
                key,
            )
            if len(self._views) > _TABLES_MAX:
                self._views.popitem(last=False)
        return found

    def _of(self, labels: Labels) -> Metadata | None:
        name = dict(labels).get("__name__", "")
        found = self._metadata.get(name)
        for kind in _FAMILIES:
            if found is None:
                found = self._metadata.get(family_of(name, kind))
        return found


def shard_of(labels: Labels, shards: int) -> int:
    """Return the shard of a series: always the same, also after a restart."""
    if shards == 1:
        return 0
    text = "\xff".join([text for pair in labels for text in pair])
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % shards
