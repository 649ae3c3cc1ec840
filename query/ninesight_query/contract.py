"""The query contract: one language of questions (PromQL), answered with numpy columns.

Citizens: `LocalEngine` (over a `ninesight_store.contract.Source`), `RemoteEngine` (any
Prometheus-compatible server) and, for tests, the script in `testing.py`. Every citizen passes `contract_suite.py`. Timestamps and steps are int64 milliseconds; values
are float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import (
    Exemplar,
    Float64,
    Int64,
    Labels,
    Matcher,
    Metadata,
    SeriesExemplars,
    labels_of,
)

from ninesight_query.histogram import Histogram

__all__ = [
    "Answer",
    "AtOnce",
    "Capabilities",
    "Engine",
    "Exemplar",
    "Labels",
    "Matcher",
    "Matrix",
    "Metadata",
    "QueryStats",
    "Ragged",
    "Scalar",
    "SeriesExemplars",
    "String",
    "Value",
    "Vector",
    "labels_of",
]

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scalar:
    """A number without labels, at one time."""

    timestamp_ms: int
    value: float


@dataclass(frozen=True)
class String:
    """A string literal, at one time."""

    timestamp_ms: int
    value: str


@dataclass(frozen=True)
class Vector:
    """One value per series at one time. Row r is a histogram if `r in histograms`, else `values[r]`."""

    timestamp_ms: int
    labels: tuple[Labels, ...]
    """[S] sorted by labels unless the query orders its result (sort, topk)."""
    values: Float64
    """[S]"""
    histograms: Mapping[int, Histogram] = field(default_factory=dict)
    timestamps: Int64 | None = None
    """[S] only where rows differ from `timestamp_ms`; else None."""


@dataclass(frozen=True)
class Matrix:
    """One row per series over a regular grid of steps. Absent points have `present` False (NaN is a value)."""

    timestamps: Int64
    """[T] milliseconds, ascending."""
    labels: tuple[Labels, ...]
    """[S] sorted by labels."""
    values: Float64
    """[S, T]"""
    present: Bool
    """[S, T] True where `values` holds a float."""
    histograms: Mapping[tuple[int, int], Histogram] = field(default_factory=dict)
    """(row, column) of the points that are histograms; `present` is False there."""


@dataclass(frozen=True)
class Ragged:
    """Raw samples of an instant query for a range (`metric[5m]`): per series its own timestamps."""

    labels: tuple[Labels, ...]
    timestamps: tuple[Int64, ...]
    values: tuple[Float64, ...]
    histograms: tuple[tuple[tuple[int, Histogram], ...], ...] = ()
    """Per series its (timestamp, histogram) pairs; () where no series has any."""


Value = Scalar | String | Vector | Matrix | Ragged


@dataclass(frozen=True, slots=True)
class QueryStats:
    """What a query cost."""

    samples: int
    """Samples loaded; two buckets of a histogram count as one."""
    samples_peak: int
    """Most samples and cells held at a time."""
    read_s: float
    """Seconds spent reading the source."""
    evaluate_s: float
    """Seconds spent on everything else: parsing, planning, evaluating."""


@dataclass(frozen=True)
class Answer:
    """A result with what the engine has to say about it."""

    value: Value
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    stats: QueryStats | None = field(default=None, compare=False)
    """None where the engine does not know."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond plain PromQL."""

    name: str
    """local, ninesight, prometheus, mimir, victoriametrics; remote where the server is not known yet."""
    native_histograms: bool = True
    exemplars: bool = True
    delayed_name_removal: bool = False
    version: str = ""
    """What the server says; "" where it says none."""
    dialect: str = "promql"
    """promql, or metricsql (VictoriaMetrics)."""
    differences: tuple[str, ...] = ()
    """What is answered otherwise than by Prometheus 3, a sentence each, for people."""


@runtime_checkable
class AtOnce(Protocol):
    """What an engine can do beside: answer a thread that must not be held up. Never waits, raises nothing."""

    def instant_at_once(self, query: str, at_ms: int) -> Answer | None:
        """Return the answer of `instant` if it takes no reading and 2 ms at most, else None: then ask `instant`."""

    def range_at_once(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer | None:
        """Return the answer of `range` on the same terms."""


class Engine(Protocol):
    """Answers PromQL. Safe to call from many threads. Raises only `QueryError`."""

    @property
    def capabilities(self) -> Capabilities:
        """Say what this engine can do."""

    def instant(self, query: str, at_ms: int) -> Answer:
        """Evaluate at one time. The value is a Scalar, String, Vector or Ragged."""

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Evaluate at start, start+step, ... <= end. The value is a Matrix (a scalar query gives one row, labels ())."""

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Return the series that match any of the selectors, sorted; no selector means every series."""

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the label names of those series, sorted."""

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the values of one label over those series, sorted, "" left out."""

    def metadata(self) -> tuple[Metadata, ...]:
        """Return what is known of each metric, sorted by name."""

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars with start <= timestamp <= end of the series that match any of the selectors.

        Sorted by labels, each series' own by time; a series without one is left out, no selector matches
        nothing. Engines keep few of them: the newest of each series.
        """
