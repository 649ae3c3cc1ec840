"""What a time series database makes of counter reset hints when it stores histograms.

Prometheus keeps hints per chunk, so a reader never sees what the sender wrote: the first point of a
chunk is unknown, the following ones are no reset; gauges stay gauges. A reset or another layout opens a
chunk. Expectations in the notation are written against that, so a load rewrites hints the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ninesight_store.contract import Labels, ResetHint

from ninesight_query.histogram import Histogram, is_stale
from ninesight_query.histogram_reset import detect_reset

__all__ = ["HintMemory"]


@dataclass
class HintMemory:
    """The last histogram of each series, from which the next hint follows. One thread only."""

    last: dict[Labels, Histogram]

    def forget(self, labels: Labels) -> None:
        """A float sample came between: the next histogram opens a chunk."""
        self.last.pop(labels, None)

    def stored(self, labels: Labels, histogram: Histogram) -> Histogram:
        """Return the histogram with the hint that a reader of the database will see."""
        hint = _stored_hint(self.last.get(labels), histogram)
        out = histogram if hint == histogram.hint else replace(histogram, hint=hint)
        self.last[labels] = out
        return out


def _stored_hint(last: Histogram | None, now: Histogram) -> ResetHint:
    if now.hint is ResetHint.GAUGE:
        return now.hint
    if now.hint is ResetHint.RESET or last is None or last.hint is ResetHint.GAUGE or is_stale(last):
        return ResetHint.UNKNOWN
    if is_stale(now):
        return ResetHint.NOT_RESET
    if (now.schema, now.zero_threshold, now.bounds) != (last.schema, last.zero_threshold, last.bounds):
        return ResetHint.UNKNOWN
    bare = replace(now, hint=ResetHint.UNKNOWN)
    # A reset opens a chunk, and a reader does not know what lies before a chunk.
    return ResetHint.UNKNOWN if detect_reset(bare, last) else ResetHint.NOT_RESET
