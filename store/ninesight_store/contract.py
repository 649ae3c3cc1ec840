"""The store's contract: what travels in (`Batch`), what is handed back (`Columns`).

Units everywhere: timestamps are int64 milliseconds since the Unix epoch (they may be
negative), values are float64 in the metric's base unit. A NaN is a value; the stale
marker is the one NaN with the bits `STALE_BITS` and must travel bit-exact.

    sources ──Batch──► Sink.write          Source.select ──Columns──► query
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "STALE_BITS",
    "STALE_NAN",
    "Batch",
    "Columns",
    "Exemplar",
    "ExemplarColumns",
    "Float64",
    "HistogramColumns",
    "Int32",
    "Int64",
    "Labels",
    "MatchOp",
    "Matcher",
    "Metadata",
    "ResetHint",
    "SeriesExemplars",
    "SeriesTable",
    "Sink",
    "Source",
    "labels_of",
    "stale_in",
]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

Labels = tuple[tuple[str, str], ...]
"""One series: (name, value) pairs sorted by name, `__name__` among them, no empty values."""

STALE_BITS = 0x7FF0000000000002
"""Prometheus' stale marker: the series ended at this timestamp."""

STALE_NAN: float = float(np.uint64(STALE_BITS).view(np.float64))
"""The marker as a float. Python arithmetic may quieten it: compare bits, never `==` or `isnan`."""


def stale_in(values: Float64) -> npt.NDArray[np.bool_]:
    """Return where the stale marker stands, bit for bit: it is one NaN among many."""
    bits: npt.NDArray[np.bool_] = np.ascontiguousarray(values).view(np.uint64) == np.uint64(STALE_BITS)
    return bits


def labels_of(name: str, labels: Mapping[str, str] | None = None) -> Labels:
    """Return the sorted, canonical `Labels` of a metric name and its labels; empty values are dropped."""
    pairs = {key: value for key, value in (labels or {}).items() if value}
    if name:
        pairs["__name__"] = name
    return tuple(sorted(pairs.items()))


class ResetHint(enum.IntEnum):
    """What the sender knows about counter resets of one histogram point."""

    UNKNOWN = 0
    """Nothing; the reader must compare with the point before."""
    RESET = 1
    """The counter began anew at this point."""
    NOT_RESET = 2
    """The counter did not begin anew since the point before."""
    GAUGE = 3
    """It is no counter: it may go down."""


class MatchOp(enum.StrEnum):
    """The four matcher kinds of PromQL."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition. A missing label has the value "". Regular expressions match the whole value."""

    name: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a metric is. `kind` is counter, gauge, histogram, summary, info or unknown; `unit` may be ""."""

    metric: str
    kind: str
    unit: str = ""
    help: str = ""


@dataclass(frozen=True)
class SeriesTable:
    """The series of a batch, interned once. Senders keep one table and reuse it batch after batch.

    Reuse is what makes ingest fast: the store recognises a table by `digest`, and one it has
    seen costs no look-up per series.
    """

    labels: tuple[Labels, ...]

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that identify the ordered list of series."""
        state = hashlib.blake2b(digest_size=16)
        for labels in self.labels:
            for name, value in labels:
                state.update(f"{len(name)}:{name}{len(value)}:{value}".encode("utf-8", "surrogatepass"))
            state.update(b"\n")
        return state.digest()

    def __len__(self) -> int:
        return len(self.labels)


def _empty_int64() -> Int64:
    return np.zeros(0, np.int64)


def _empty_int32() -> Int32:
    return np.zeros(0, np.int32)


def _empty_float64() -> Float64:
    return np.zeros(0, np.float64)


def _one_zero() -> Int64:
    return np.zeros(1, np.int64)


@dataclass(frozen=True)
class HistogramColumns:
    """M native-histogram points as columns.

    Buckets are absolute counts (never deltas) under *Prometheus* indexes: with schema s in -4..8,
    positive bucket i covers (2^((i-1)*2^-s), 2^(i*2^-s)], negative bucket i the mirror image.
    (OpenTelemetry's exponential index is one less: Prometheus i = OTel i + 1.) Schema -53 means
    custom bounds: bucket i covers (bounds[i-1], bounds[i]], i from 0, the last one up to +Inf.
    Point k owns the slice `x_offsets[k]:x_offsets[k+1]` of its bucket columns, indexes ascending.
    A stale marker is a point whose `sum` has the bits `STALE_BITS`.
    """

    series: Int32 = field(default_factory=_empty_int32)
    """[M] row of the SeriesTable (in a Batch) or of `Columns.labels` (in Columns)."""
    timestamps: Int64 = field(default_factory=_empty_int64)
    """[M] milliseconds."""
    schema: Int32 = field(default_factory=_empty_int32)
    """[M] -4..8, or -53 for custom bounds."""
    hint: Int32 = field(default_factory=_empty_int32)
    """[M] `ResetHint`."""
    count: Float64 = field(default_factory=_empty_float64)
    """[M] observations in all."""
    sum: Float64 = field(default_factory=_empty_float64)
    """[M] sum of the observations, in the metric's unit."""
    zero_threshold: Float64 = field(default_factory=_empty_float64)
    """[M] the zero bucket covers [-threshold, threshold]."""
    zero_count: Float64 = field(default_factory=_empty_float64)
    """[M] observations in the zero bucket."""
    positive_offsets: Int64 = field(default_factory=_one_zero)
    """[M+1]"""
    positive_index: Int32 = field(default_factory=_empty_int32)
    positive_count: Float64 = field(default_factory=_empty_float64)
    negative_offsets: Int64 = field(default_factory=_one_zero)
    """[M+1]"""
    negative_index: Int32 = field(default_factory=_empty_int32)
    negative_count: Float64 = field(default_factory=_empty_float64)
    bounds_offsets: Int64 = field(default_factory=_one_zero)
    """[M+1]; a point that is not of schema -53 owns an empty slice."""
    bounds: Float64 = field(default_factory=_empty_float64)
    start_timestamps: Int64 | None = None
    """[M] when each counter began, in milliseconds, 0 where that is not known; None: known for none."""

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True)
class ExemplarColumns:
    """E exemplars: single observations, with labels that lead to a trace."""

    series: Int32 = field(default_factory=_empty_int32)
    """[E] row of the SeriesTable."""
    timestamps: Int64 = field(default_factory=_empty_int64)
    """[E] milliseconds."""
    values: Float64 = field(default_factory=_empty_float64)
    """[E] the observation, in the metric's unit."""
    labels: tuple[Labels, ...] = ()
    """[E] such as (("trace_id", "..."),); 128 characters in all, as OpenMetrics bounds them."""

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation with labels that lead to a trace."""

    labels: Labels
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class SeriesExemplars:
    """The exemplars of one series, by ascending timestamp."""

    series: Labels
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True)
class Batch:
    """What a source observed, as columns. The one thing that travels from a source to a sink.

    Rows may be in any order; one row is one float sample of `series.labels[series_index[k]]`.
    Exemplars belong to series of the same table. After `write` returns the receiver holds no reference to the arrays; senders never change them before.
    """

    series: SeriesTable
    series_index: Int32 = field(default_factory=_empty_int32)
    """[N] row of `series` for each float sample."""
    timestamps: Int64 = field(default_factory=_empty_int64)
    """[N] milliseconds."""
    values: Float64 = field(default_factory=_empty_float64)
    """[N]"""
    histograms: HistogramColumns = field(default_factory=HistogramColumns)
    metadata: tuple[Metadata, ...] = ()
    start_timestamps: Int64 | None = None
    """[N] when each counter began, in milliseconds, 0 where that is not known; None: known for none."""
    exemplars: ExemplarColumns = field(default_factory=ExemplarColumns)

    def __len__(self) -> int:
        """Float samples and histogram points together."""
        return len(self.timestamps) + len(self.histograms)


class Sink(Protocol):
    """Takes batches. Safe to call from many threads."""

    def write(self, batch: Batch) -> None:
        """Keep the whole batch durably, then return.

        Raises RetryableError (nothing was kept, send the same again) or PermanentError (never
        acceptable; says what was refused and why). A LateError is a PermanentError about some samples
        only: they are older than its `oldest_ms`, the others of the batch are kept. The same sample twice is harmless: for one
        series and timestamp the sample written last wins. So is an exemplar twice; exemplars come in any
        order, and one that cannot be kept is left out and counted, never a reason to refuse its batch.
        """


@dataclass(frozen=True)
class Columns:
    """Selected series as flat, read-only columns.

    Series r owns the float samples `offsets[r]:offsets[r+1]` and the histogram points
    `histogram_offsets[r]:histogram_offsets[r+1]`; within a series timestamps ascend strictly
    (deduplicated; sealed and hot data merged). Series are sorted by labels.
    """

    labels: tuple[Labels, ...]
    """[S]"""
    offsets: Int64
    """[S+1]"""
    timestamps: Int64
    """[N] milliseconds."""
    values: Float64
    """[N] stale markers included, bit-exact."""
    histogram_offsets: Int64
    """[S+1]"""
    histograms: HistogramColumns = field(default_factory=HistogramColumns)
    """Points grouped by series in the order of `labels`; `series` holds the row."""
    start_timestamps: Int64 | None = None
    """[N] as in `Batch`; None where no sample of the answer has one."""


class Source(Protocol):
    """Hands samples back. Safe to call from many threads, and from other processes while one writes."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Columns:
        """Return the samples with start_ms <= timestamp <= end_ms of the series that match all matchers.

        A series without a sample in the span is left out. Raises MatcherError for a bad pattern.
        """

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the matching series that may have samples in the span, sorted; no sample is read.

        An empty `matchers` means every series. The span is honoured at least to the hour.
        """

    def metadata(self) -> Iterable[Metadata]:
        """Return what is known of each metric, one entry a metric, sorted by name."""

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars with start_ms <= timestamp <= end_ms of the series that any selector matches.

        Sorted by labels; a series without one is left out, and no selector matches nothing. The newest of each
        series are kept, within bounds of the store. Raises MatcherError for a bad pattern.
        """
