"""From spooled records to the body of a request, in the version and with the histograms that the receiver takes."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ninesight_store.contract import Labels, Metadata

from ninesight_collector.forward.classic import without_natives
from ninesight_collector.forward.decode import ShapeBook, joined, outgoing_of
from ninesight_collector.forward.encode import V1Encoder, V2Encoder
from ninesight_collector.forward.outgoing import Outgoing
from ninesight_collector.remote_write.block import compress, decompress

__all__ = ["Natives", "Payloads"]

_METADATA_AGAIN_S = 60.0
_METADATA_MAX = 20_000
_BODY_BYTES_MAX = 1 << 30


class Natives(enum.Enum):
    """Which native histograms a receiver takes; the others become classic ones."""

    ALL = "all"
    EXPONENTIAL = "exponential"
    """Those with custom bounds only in 2.0: an older receiver would take their schema for another one."""
    NONE = "none"


class Payloads:
    """Makes request bodies. Used by one thread at a time."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._v1, self._v2 = V1Encoder(), V2Encoder()
        self._bucket_labels: dict[tuple[Labels, str], Labels] = {}
        self._book = ShapeBook()
        self._monotonic = monotonic
        self._told: dict[str, tuple[Metadata, float]] = {}

    def body(self, records: Sequence[bytes], version: int, natives: Natives) -> bytes:
        """Return the compressed body that holds these records (compressed 2.0 requests of ours)."""
        if version == 2 and len(records) == 1 and natives is not Natives.NONE:
            return records[0]
        pieces = [outgoing_of(decompress(record, _BODY_BYTES_MAX, ""), self._book) for record in records]
        outgoing = joined(pieces)
        if natives is not Natives.ALL and not (version == 2 and natives is Natives.EXPONENTIAL):
            outgoing = without_natives(
                outgoing, self._bucket_labels, custom_only=natives is Natives.EXPONENTIAL
            )
        if version == 2:
            return compress(self._v2.encode(replace(outgoing, shape=None)))
        return compress(self._v1.encode(outgoing, self._metadata(outgoing)))

    def _metadata(self, outgoing: Outgoing) -> list[Metadata]:
        """Return what 1.0 must be told: what is new, and what was told some time ago."""
        now_s = self._monotonic()
        if len(self._told) > _METADATA_MAX:
            self._told.clear()
        fresh: list[Metadata] = []
        for one in outgoing.metadata:
            if one is None:
                continue
            before = self._told.get(one.metric)
            if before is None or before[0] != one or now_s - before[1] > _METADATA_AGAIN_S:
                self._told[one.metric] = (one, now_s)
                fresh.append(one)
        return fresh
