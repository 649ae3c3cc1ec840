"""What a person writes about the store (`StoreConfig`) and what code passes (`StoreSettings`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["StoreConfig", "StoreSettings"]

HOUR_MS = 3_600_000
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": HOUR_MS, "d": 24 * HOUR_MS, "w": 168 * HOUR_MS}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")


@dataclass(frozen=True)
class StoreSettings:
    """Bounds and periods of a `LocalStore`. Milliseconds, bytes, counts."""

    retention_ms: int = 15 * 24 * HOUR_MS
    """Samples older than this are dropped by `retain`. Whole rows and chunks only."""
    seal_after_ms: int = 600_000
    """An hour is sealed when it ended at least this long ago. Later samples are sealed later, and merged."""
    merge_hours: int = 6
    """Sealed hours are merged into blocks of this many; 0 or 1 leaves them hourly."""
    seal_samples_max: int = 4_000_000
    """Samples decoded at a time by `seal` and `merge`, which bounds their memory (about 50 bytes each)."""
    seal_threads: int = 2
    """Threads that compress while `seal` or `merge` runs."""
    compression_level: int = 4
    """pcodec level 0..12."""
    group_commit_ms_max: int = 2
    """How long a small batch waits for others if the commit before had several. 0: batches share a commit
    only while another one runs."""
    group_commit_batches_max: int = 256
    """Batches in one transaction."""
    late_ms_max: int | None = None
    """A sample older than this when it arrives is refused (LateError). None: nothing is refused for its age."""
    hot_rows_max: int = 5000
    """An hour with more rows than this is sealed before it ends, so that small batches do not slow reads. Rows that
    folding joins, because the same series come again and again, do not count."""
    busy_timeout_ms: int = 5000
    """How long a write waits for another process before it is a RetryableError."""
    size_bytes_max: int = 0
    """Beyond nine tenths of this the oldest hours are dropped; at it writes are refused (FullError). 0: no bound."""
    row_cache_bytes_max: int = 64 * 2**20
    """Memory for hot rows kept ready for queries."""
    cover_cache_bytes_max: int = 256 * 2**20
    """Memory for what selectors read, kept as matrices between queries (cover.py)."""
    rollup_cache_bytes_max: int = 128 * 2**20
    """Memory for the bins that `rollup` read, kept between queries."""
    exemplars_max: int = 100_000
    """Exemplars kept in all, the oldest dropped first; 0 keeps none."""
    exemplars_per_series_max: int = 100
    """Exemplars kept of one series, the oldest dropped first."""
    maintenance_interval_ms: int = 60_000
    """How often `Maintenance` looks for hours to seal, blocks to merge and data to drop."""


class StoreConfig(BaseModel):
    """The `store:` section of the configuration file."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    """SQLAlchemy address of the database, e.g. `sqlite:////var/lib/ninesight/ninesight.db`. Empty: the
    suite's own data folder."""
    retention: str = "15d"
    """How long samples are kept: a number with ms, s, m, h, d or w; at least 1h."""
    seal_after: str = "10m"
    """How long an hour stays uncompressed after its end."""
    merge_hours: int = Field(default=6, ge=0, le=24)
    """Sealed hours are merged into blocks of this many hours (a divisor of 24); 0 leaves them hourly."""
    late_max: str = ""
    """How old a sample may be when it arrives, a duration; empty: as old as `retention`."""
    group_commit_ms_max: int = Field(default=2, ge=0, le=1000)
    """How long a small batch waits for others, if there were others just before. 0: no waiting."""
    size_max_mb: int = Field(default=0, ge=0)
    """Beyond nine tenths of this many MiB the oldest hours are dropped; 0 is no bound."""
    row_cache_mb: int = Field(default=64, ge=0)
    """Memory in MiB for uncompressed rows kept ready for queries."""
    exemplars_max: int = Field(default=100_000, ge=0)
    """Exemplars kept in all, the oldest dropped first; 0 keeps none."""
    exemplars_per_series_max: int = Field(default=100, ge=1)
    """Exemplars kept of one series, the oldest dropped first."""
    cover_cache_mb: int = Field(default=256, ge=0)
    """Memory in MiB for what selectors read, kept between queries. 0 reads anew each time."""
    rollup_cache_mb: int = Field(default=128, ge=0)
    """Memory in MiB for the bins that long windows were answered from, kept between queries."""
    maintenance_interval: str = "1m"
    """How often hours are sealed, blocks merged and old data dropped."""

    @field_validator("retention", "seal_after", "maintenance_interval")
    @classmethod
    def _is_duration(cls, text: str) -> str:
        milliseconds(text)
        return text

    @field_validator("late_max")
    @classmethod
    def _is_empty_or_duration(cls, text: str) -> str:
        if text:
            milliseconds(text)
        return text

    @field_validator("retention")
    @classmethod
    def _retention_at_least_an_hour(cls, text: str) -> str:
        if milliseconds(text) < HOUR_MS:
            raise ValueError(f"retention must be at least 1h, got {text}; raise store.retention")
        return text

    @field_validator("maintenance_interval")
    @classmethod
    def _interval_at_least_a_second(cls, text: str) -> str:
        if milliseconds(text) < 1000:
            raise ValueError(f"maintenance_interval must be at least 1s, got {text}")
        return text

    @field_validator("merge_hours")
    @classmethod
    def _divides_the_day(cls, hours: int) -> int:
        if hours and 24 % hours:
            raise ValueError(f"merge_hours must divide 24 (1, 2, 3, 4, 6, 8, 12, 24), got {hours}")
        return hours

    def _late_ms(self) -> int:
        """What is past retention would be dropped at the next turn: it is refused at once."""
        kept = milliseconds(self.retention)
        return min(kept, milliseconds(self.late_max)) if self.late_max else kept

    def settings(self) -> StoreSettings:
        """Return the same in milliseconds and bytes."""
        return StoreSettings(
            retention_ms=milliseconds(self.retention),
            seal_after_ms=milliseconds(self.seal_after),
            late_ms_max=self._late_ms(),
            merge_hours=self.merge_hours,
            group_commit_ms_max=self.group_commit_ms_max,
            size_bytes_max=self.size_max_mb * 2**20,
            row_cache_bytes_max=self.row_cache_mb * 2**20,
            cover_cache_bytes_max=self.cover_cache_mb * 2**20,
            rollup_cache_bytes_max=self.rollup_cache_mb * 2**20,
            exemplars_max=self.exemplars_max,
            exemplars_per_series_max=self.exemplars_per_series_max,
            maintenance_interval_ms=milliseconds(self.maintenance_interval),
        )


def milliseconds(text: str) -> int:
    """Return a duration such as `15d`, `1h30m` or `250ms` in milliseconds. Raises ValueError."""
    found = _DURATION.findall(text)
    if not found or "".join(number + unit for number, unit in found) != text:
        raise ValueError(
            f"a duration must be numbers with ms, s, m, h, d or w such as 15d or 1h30m, got {text!r}"
        )
    return sum(int(number) * _UNITS_MS[unit] for number, unit in found)
