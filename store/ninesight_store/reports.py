"""What the store says about its own work and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FillReport", "FoldReport", "MergeReport", "RetainReport", "SealReport", "StoreStat"]


@dataclass(frozen=True)
class FoldReport:
    """One run of `fold`."""

    rows_before: int = 0
    rows_after: int = 0
    samples: int = 0
    """Samples and histogram points that were written anew."""
    conflicts: int = 0
    """Steps given up because another process had changed the same rows; nothing is lost."""
    rows_waiting: int = 0
    """Rows left for the next run, because one run does not do more."""


@dataclass(frozen=True)
class SealReport:
    """One run of `seal`."""

    hours: int = 0
    """Hours of which rows were sealed."""
    rows: int = 0
    """Hot rows that became chunks."""
    samples: int = 0
    """Samples and histogram points in the new chunks (overwritten ones are gone)."""
    chunks: int = 0
    bytes: int = 0
    """Compressed bytes of the new chunks."""
    conflicts: int = 0
    """Steps given up because another process had sealed the same rows; nothing is lost."""


@dataclass(frozen=True)
class MergeReport:
    """One run of `merge`."""

    chunks_before: int = 0
    chunks_after: int = 0
    samples: int = 0
    bytes: int = 0
    """Compressed bytes of the merged chunks."""
    conflicts: int = 0
    """Steps given up because another process had changed the same chunks; nothing is lost."""


@dataclass(frozen=True)
class FillReport:
    """One run of `fill_rollups`."""

    rollups: int = 0
    """Chunks that have a rollup now."""
    samples: int = 0
    """Samples and histogram points read for it."""
    done: bool = False
    """Whether no chunk is left that is worth one; until the next hour nothing is looked at."""


@dataclass(frozen=True)
class RetainReport:
    """One run of `retain`."""

    rows: int = 0
    """Hot rows dropped."""
    chunks: int = 0
    samples: int = 0
    series: int = 0
    """Series dropped because no sample of theirs was left."""
    layouts: int = 0
    exemplars: int = 0
    dropped_before_ms: int | None = None
    """Where the size asked for it: everything that ended before this was dropped."""


@dataclass(frozen=True)
class StoreStat:
    """The store at one moment."""

    series: int
    layouts: int
    hot_rows: int
    hot_samples: int
    hot_points: int
    """Histogram points not sealed yet."""
    chunks: int
    sealed_samples: int
    sealed_points: int
    sealed_bytes: int | None
    """Compressed float samples: what `sealed_samples` occupy as payload; None where it was not asked for."""
    sealed_points_bytes: int | None
    size_bytes: int
    """The database on the disk, write-ahead log and free pages included."""
    free_bytes: int
    """Pages inside the database that wait to be used again."""
    oldest_ms: int | None
    newest_ms: int | None
    exemplars: int = 0
    rollups: int = 0
    """Chunks with their samples summed up, for long windows."""
    rollup_bytes: int = 0
    format: int = 0
    """Version of the tables."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Counts since the store was opened: batches_written, samples_refused, ..."""
