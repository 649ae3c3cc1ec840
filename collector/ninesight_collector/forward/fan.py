"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from ninesight_store.contract import Batch, Sink

__all__ = ["FanOut"]


class FanOut:
    """Writes each batch to every sink, in order; returns when all have it. As thread-safe as they are.

    Where one raises, those before it have the batch: sent again, they get it twice, which is harmless.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def write(self, batch: Batch) -> None:
        """Write to all. Raises what the first refusing sink raises."""
        for sink in self._sinks:
            sink.write(batch)
