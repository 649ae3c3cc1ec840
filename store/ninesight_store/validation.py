"""What a batch must fulfil before it is kept. A refusal says what must hold, and how much was refused.

Label tables are checked once: senders reuse a `SeriesTable`, so its digest is remembered by the caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import (
    Batch,
    ExemplarColumns,
    HistogramColumns,
    Labels,
    Metadata,
    SeriesTable,
)
from ninesight_store.errors import PermanentError
from ninesight_store.histograms import POINT_FIELDS, SLICED_FIELDS

__all__ = ["CUSTOM_BOUNDS_SCHEMA", "EVER", "TIMESTAMP_MS_MAX", "check_batch", "check_metadata", "check_table"]

TIMESTAMP_MS_MAX = 2**53
"""Timestamps lie within plus or minus this many milliseconds (285,000 years)."""
EVER = (-TIMESTAMP_MS_MAX, TIMESTAMP_MS_MAX)
"""The span of all timestamps, ends included."""

CUSTOM_BOUNDS_SCHEMA = -53

LABELS_BYTES_MAX = 65_536
"""Characters of all names and values of one series."""

_Columns = dict[str, tuple[npt.NDArray[Any], str]]

_KINDS = {"series": "iu", "timestamps": "iu", "schema": "iu", "hint": "iu"}


def check_table(table: SeriesTable) -> None:
    """Raise PermanentError unless every series has sorted, non-empty labels."""
    for row, labels in enumerate(table.labels):
        problem = _label_problem(labels)
        if problem:
            raise PermanentError(f"series {row} of the batch {_shown(labels)}: {problem}", refused=1)


def check_batch(batch: Batch) -> None:
    """Raise PermanentError unless the columns are aligned and within bounds; labels are not looked at."""
    refused = max(len(batch.series_index), len(batch.timestamps), len(batch.values)) + len(batch.histograms)
    refused = max(refused, 1) if len(batch.exemplars) else refused
    problem = (
        _aligned(
            {
                "series_index": (batch.series_index, "iu"),
                "timestamps": (batch.timestamps, "iu"),
                "values": (batch.values, "f"),
            }
        )
        or _in_range("series_index", batch.series_index, len(batch.series))
        or _timely(batch.timestamps)
        or _starts_problem("start_timestamps", batch.start_timestamps, len(batch.timestamps))
        or _histogram_problem(batch.histograms, len(batch.series))
        or _exemplar_problem(batch.exemplars, len(batch.series))
    )
    if problem:
        raise PermanentError(f"{problem}; {refused} samples were refused", refused=refused)


def check_metadata(entries: tuple[Metadata, ...]) -> None:
    """Raise PermanentError unless every entry is text with a metric name."""
    for entry in entries:
        texts = (entry.metric, entry.kind, entry.unit, entry.help)
        if not entry.metric or not all(isinstance(text, str) and _encodable(text) for text in texts):
            raise PermanentError(f"metadata must be valid text with a metric name, got {_shown(entry)}")


def _shown(labels: object) -> str:
    text = repr(labels)
    return text if len(text) <= 200 else text[:200] + "..."


def _label_problem(labels: Labels) -> str | None:
    if not isinstance(labels, tuple) or not labels:
        return "labels must be a non-empty tuple of (name, value) pairs; use labels_of()"
    before = ""
    size = 0
    for pair in labels:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            return "each label must be a (name, value) pair of strings; use labels_of()"
        name, value = pair
        if not name or not value:
            return f"label names and values must not be empty, got {name!r}={value!r}; leave empty ones out"
        if name <= before:
            return f"labels must be sorted by name without repeats, got {name!r} after {before!r}; use labels_of()"
        if not (name.isascii() and value.isascii()) and not _encodable(name + value):
            return f"label {name!r} must be valid Unicode (no lone surrogates)"
        before = name
        size += len(name) + len(value)
    if size > LABELS_BYTES_MAX:
        return f"labels must have at most {LABELS_BYTES_MAX} characters in all, got {size}"
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _aligned(columns: _Columns) -> str | None:
    lengths = {name: len(array) for name, (array, _) in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        return f"the columns of a batch must have one length, got {shown}"
    for name, (array, kinds) in columns.items():
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
            wanted = "floats" if kinds == "f" else "integers"
            kind = f"{getattr(array, 'dtype', type(array).__name__)}"
            return f"{name} must be a one-dimensional numpy array of {wanted}, got {kind}"
    return None


def _in_range(name: str, rows: npt.NDArray[np.generic], series: int) -> str | None:
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= series):
        return f"{name} must lie within 0..{series - 1}, got {int(rows.min())}..{int(rows.max())}"
    return None


def _timely(timestamps: npt.NDArray[Any], name: str = "timestamps") -> str | None:
    if not len(timestamps):
        return None
    low, high = int(timestamps.min()), int(timestamps.max())
    if low < -TIMESTAMP_MS_MAX or high > TIMESTAMP_MS_MAX:
        return f"{name} must be milliseconds within +-2^53, got {low}..{high}; are they in nanoseconds?"
    return None


def _histogram_problem(points: HistogramColumns, series: int) -> str | None:
    if not len(points) and not len(points.series):
        return None
    columns = {f"histograms.{n}": (getattr(points, n), _KINDS.get(n, "f")) for n in POINT_FIELDS}
    problem = (
        _aligned(columns)
        or _in_range("histograms.series", points.series, series)
        or _timely(points.timestamps)
        or _schema_problem(points)
    )
    if problem:
        return problem
    begun = points.start_timestamps
    if problem := _starts_problem("histograms.start_timestamps", begun, len(points)):
        return problem
    for offsets_name, names in SLICED_FIELDS:
        if problem := _slices_problem(points, offsets_name, names):
            return problem
    return None


def _starts_problem(name: str, starts: npt.NDArray[Any] | None, rows: int) -> str | None:
    if starts is None:
        return None
    # The rows it must have are given as a stand-in of that length.
    columns: _Columns = {name: (starts, "iu"), "timestamps": (np.zeros(rows, np.int64), "iu")}
    problem = _aligned(columns)
    return problem or _timely(starts, name)


def _exemplar_problem(exemplars: ExemplarColumns, series: int) -> str | None:
    columns: _Columns = {
        "exemplars.series": (exemplars.series, "iu"),
        "exemplars.timestamps": (exemplars.timestamps, "iu"),
        "exemplars.values": (exemplars.values, "f"),
    }
    if problem := _aligned(columns):
        return problem
    if len(exemplars.labels) != len(exemplars):
        return f"exemplars.labels must have one entry an exemplar ({len(exemplars)}), got {len(exemplars.labels)}"
    in_range = _in_range("exemplars.series", exemplars.series, series)
    return in_range or _timely(exemplars.timestamps, "exemplars.timestamps")


def _schema_problem(points: HistogramColumns) -> str | None:
    bad = ((points.schema < -4) | (points.schema > 8)) & (points.schema != CUSTOM_BOUNDS_SCHEMA)
    if bad.any():
        return (
            f"a histogram's schema must be -4..8, or -53 for custom bounds, got {int(points.schema[bad][0])}"
        )
    if len(points.hint) and (int(points.hint.min()) < 0 or int(points.hint.max()) > 3):
        return "a histogram's hint must be a ResetHint (0..3)"
    return None


def _slices_problem(points: HistogramColumns, offsets_name: str, names: tuple[str, ...]) -> str | None:
    offsets = getattr(points, offsets_name)
    lengths = {len(getattr(points, name)) for name in names}
    if len(offsets) != len(points) + 1 or offsets[0] != 0 or bool(np.any(np.diff(offsets) < 0)):
        return f"histograms.{offsets_name} must hold {len(points) + 1} ascending offsets from 0"
    if lengths != {int(offsets[-1])}:
        return f"histograms.{offsets_name} must end at the length of {' and '.join(names)} ({sorted(lengths)}), got {int(offsets[-1])}"
    first = getattr(points, names[0])
    if len(first) > 1:
        steps = np.diff(first) <= 0
        inner = offsets[(offsets > 0) & (offsets < len(first))] - 1
        steps[inner] = False
        if steps.any():
            return f"histograms.{names[0]} must ascend within each point"
    return None
