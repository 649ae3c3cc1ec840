"""What code passes to a `RemoteEngine`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["RemoteSettings"]


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where the server is, how to log in, and what one question may cost. Secrets are not in the repr."""

    url: str
    """What stands before `/api/v1/query`: http://prometheus:9090, or with a path such as /prometheus."""
    bearer_token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    tenant: str = ""
    """Sent as X-Scope-OrgID (Mimir, Cortex, Loki's family); "" sends none."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    timeout_s: float = 120.0
    """Longest wait for one answer, retries included."""
    connect_timeout_s: float = 5.0
    """Longest wait for one connection."""
    connections_max: int = 16
    """Connections held; more questions than that wait for one."""
    retries_max: int = 2
    """Further tries after a failed connection or a 502 or 503; a timeout is never tried again."""
    response_bytes_max: int = 256 << 20
    """Size of one answer, decompressed."""
    samples_max: int = 50_000_000
    """Points of one answer, and cells of its grid of series and steps."""
    points_per_series_max: int = 11_000
    """Steps of a range query."""
    query_length_max: int = 16_384
    """Characters of a query."""
