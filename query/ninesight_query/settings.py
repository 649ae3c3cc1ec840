"""What code passes to an engine."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["EngineSettings", "Rollups"]


class Rollups(enum.StrEnum):
    """When a selector is read as bins of samples (spans.py); the answers are the same."""

    NEVER = "never"
    WORTHWHILE = "worthwhile"
    """Where the span is long and few windows end between bins."""
    ALWAYS = "always"
    """Wherever bins can answer at all, at any cost: for tests."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Limits and switches of a `LocalEngine`; the defaults are Prometheus' where it has one."""

    lookback_ms: int = 300_000
    """How old the newest sample of a series may be and still count; a sample exactly this old does not."""
    subquery_step_ms: int = 60_000
    """Step of `[range:]`."""
    samples_max: int = 50_000_000
    """Samples one query may load, and cells one intermediate result may hold."""
    samples_shared_max: int = 100_000_000
    """Samples that all running queries may hold together."""
    series_max: int = 200_000
    """Series one selector may match."""
    points_per_series_max: int = 11_000
    """Steps of a range query."""
    query_length_max: int = 16_384
    """Characters of a query."""
    result_points_max: int = 10_000_000
    """Points of one answer: series x steps, or the samples of `metric[1d]`."""
    deadline_s: float = 120.0
    """Longest evaluation, waiting for a place included."""
    queries_max: int = 20
    """Queries evaluated at the same time; further ones wait for a place."""
    queries_waiting_max: int = 256
    """Queries that wait; one more is refused."""
    delayed_name_removal: bool = False
    """Take metric names away at the end of a query, not at each function (an option of Prometheus 3)."""
    use_start_timestamps: bool = False
    """Let rate, increase, irate and resets see when a counter began (an option of Prometheus 3)."""
    rollups: Rollups = Rollups.WORTHWHILE
    """Whether long windows are answered from bins, where the source has any."""
    type_and_unit_labels: bool = False
    """Judge counters by their `__type__` label, not by their name."""
