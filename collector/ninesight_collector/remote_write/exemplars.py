"""Exemplars of a request. One that cannot be kept costs only itself, and never the answer: Prometheus does so too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ninesight_store.contract import ExemplarColumns, Labels

from ninesight_collector.remote_write.book import Placed
from ninesight_collector.remote_write.labels import check_pairs, pairs_v1, pairs_v2
from ninesight_collector.remote_write.refusals import LabelsError
from ninesight_collector.remote_write.request import RawRequest
from ninesight_collector.remote_write.settings import ReceiverSettings
from ninesight_collector.remote_write.wire import WireError

__all__ = ["take_exemplars"]

_CHARACTERS_MAX = 128
"""OpenMetrics' bound for all labels of an exemplar."""


def take_exemplars(
    raw: RawRequest, placed: Placed, settings: ReceiverSettings, latest_ms: int
) -> tuple[ExemplarColumns, int]:
    """Return the exemplars whose series was taken, and how many were left out."""
    told = raw.exemplars
    if not len(told.owner):
        return ExemplarColumns(), 0
    read = _reader(raw, settings)
    labels = [read(place) for place in range(len(told.owner))]
    rows = placed.rows[told.owner]
    sound = np.array([one is not None for one in labels], np.bool_)
    keep = sound & (rows >= 0) & (told.timestamps <= latest_ms) & (told.timestamps >= -(2**53))
    return (
        ExemplarColumns(
            rows[keep].astype(np.int32),
            told.timestamps[keep],
            told.values[keep],
            tuple(one for one, kept in zip(labels, keep.tolist(), strict=True) if kept and one is not None),
        ),
        int((~keep).sum()),
    )


def _reader(raw: RawRequest, settings: ReceiverSettings) -> Callable[[int], Labels | None]:
    def read(place: int) -> Labels | None:
        written = raw.exemplars.labels[place]
        try:
            pairs: Sequence[tuple[str, str]] = (
                pairs_v1(written) if isinstance(written, bytes) else pairs_v2(raw.symbols, written)
            )
            labels = check_pairs(pairs, settings, named=False)
        except (LabelsError, WireError):
            return None
        size = sum(len(name) + len(value) for name, value in labels)
        return labels if size <= _CHARACTERS_MAX else None

    return read
