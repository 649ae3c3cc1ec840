"""Two replies of the Prometheus HTTP API: are they the same answer?"""

from __future__ import annotations

import json

import numpy as np

__all__ = ["difference"]

_ABSOLUTE = 1e-9
"""Differences below this share of an answer's greatest magnitude are rounding."""
Series = dict[tuple[tuple[str, str], ...], tuple[list[float], list[float]]]


def _read(body: bytes) -> Series:
    reply = json.loads(body)
    if reply.get("status") != "success":
        raise AssertionError(f"not answered: {body[:300].decode(errors='replace')}")
    data = reply["data"]
    if data["resultType"] == "scalar":
        return {(): ([float(data["result"][0])], [float(data["result"][1])])}
    found: Series = {}
    for row in data["result"]:
        points = row.get("values") or [row["value"]]
        key = tuple(sorted(row["metric"].items()))
        found[key] = ([float(at) for at, _ in points], [float(value) for _, value in points])
    return found


def difference(ours: bytes, theirs: bytes, tolerance: float) -> tuple[str, int]:
    """Return what differs, "" where nothing does, and how many points were compared."""
    mine, other = _read(ours), _read(theirs)
    if mine.keys() != other.keys():
        odd = sorted(mine.keys() ^ other.keys())[:2]
        return f"{len(mine)} series against {len(other)}, e.g. {odd}", 0
    points = 0
    scale = max((abs(v) for _, values in other.values() for v in values if np.isfinite(v)), default=0.0)
    for key, (times, values) in mine.items():
        their_times, their_values = other[key]
        if times != their_times:
            return f"{len(times)} points against {len(their_times)} of {key}", points
        close = np.isclose(values, their_values, rtol=tolerance, atol=_ABSOLUTE * scale, equal_nan=True)
        if not close.all():
            at = int(np.flatnonzero(~close)[0])
            return f"{values[at]!r} against {their_values[at]!r} at {times[at]} of {key}", points
        points += len(times)
    return "", points
