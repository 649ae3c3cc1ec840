"""Which server answers, and what it does otherwise than Prometheus 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ninesight_query.contract import Capabilities
from ninesight_query.remote.dialect import METRICSQL, NO_AVERAGE, Wording

__all__ = ["UNKNOWN", "Server", "server_of"]

_DAY_MS = 86_400_000
_CLOSED = "a sample exactly at the start of a range counts, and one exactly as old as the lookback"
_METRICSQL = (
    "there are no native histograms: ask the classic buckets",
    "rate, increase and delta begin at the last sample before the range and do not extrapolate to its ends",
    "a plain selector looks back as far as its series' own sample interval, not for 5 minutes",
    "points that are NaN are left out",
    "before 1.87, a range query repeats what was 30 s ago up to now; run it with -search.latencyOffset=1s",
    "there are no exemplars",
)


@dataclass(frozen=True, slots=True)
class Server:
    """How one kind of server is asked."""

    capabilities: Capabilities
    parameters: tuple[tuple[str, str], ...] = ()
    """Added to each query."""
    lookback_parameter: str = "lookback_delta"
    """How it is told another lookback for one query."""
    span_ms: tuple[int, int] | None = None
    """Times that the catalogue understands; None: all."""
    wording: Wording = field(default_factory=dict)
    """Functions that must be said otherwise."""

    def clipped(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Return the span as far as the server understands it."""
        if self.span_ms is None:
            return start_ms, end_ms
        return max(start_ms, self.span_ms[0]), min(end_ms, self.span_ms[1])


UNKNOWN = Server(
    Capabilities("remote", differences=("the server was not reached yet: what it can do is unknown",))
)
"""Until the server has said what it is."""


def server_of(build: Mapping[str, Any], headers: Mapping[str, str]) -> Server:
    """Judge by `/api/v1/status/buildinfo` (its `data`) and the headers of that answer."""
    version = str(build.get("version") or "")
    application = str(build.get("application") or "").lower()
    # VictoriaMetrics tells an old Prometheus' version, or nothing; this header is its own.
    if "x-server-hostname" in headers:
        can = Capabilities(
            "victoriametrics",
            native_histograms=False,
            exemplars=False,
            version=version,
            dialect="metricsql",
            differences=_METRICSQL,
        )
        # nocache: without it times are moved to multiples of the step, and the newest 30 s are hidden.
        # latency_offset: later versions take it; older ones need the flag -search.latencyOffset=1s.
        asked = (("nocache", "1"), ("latency_offset", "1s"))
        return Server(can, asked, "max_lookback", (_DAY_MS, 1 << 42), METRICSQL)
    if application == "ninesight":
        return Server(Capabilities("ninesight", version=version))
    if "mimir" in application or "cortex" in application or build.get("features"):
        return Server(Capabilities("mimir", version=version))
    number = _number(version)
    differences = []
    if (0, 0) < number < (3, 0):
        differences.append(_CLOSED)
    native = number >= (2, 40) or number == (0, 0)
    if not native:
        differences.append(_METRICSQL[0])
    can = Capabilities(
        "prometheus", native_histograms=native, version=version, differences=tuple(differences)
    )
    return Server(can, wording=NO_AVERAGE if (0, 0) < number < (2, 51) else {})


def _number(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})", version)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)
