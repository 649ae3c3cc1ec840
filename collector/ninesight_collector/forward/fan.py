"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from ninesight_store.contract import Batch, Sink
from ninesight_store.errors import PermanentError

__all__ = ["FanOut"]


class FanOut:
    """Writes each batch to every sink, in order; returns when all have it. As thread-safe as they are.

    What one refuses for good the others get all the same. Where one cannot take it now, those before it have
    the batch: sent again, they get it twice, which is harmless.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def write(self, batch: Batch) -> None:
        """Write to all. Raises RetryableError at the first that cannot now, the first PermanentError at the end."""
        refused: PermanentError | None = None
        for sink in self._sinks:
            try:
                sink.write(batch)
            except PermanentError as error:
                refused = refused or error
        if refused is not None:
            raise refused
