"""What code passes to the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HttpSettings"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits of the HTTP API."""

    workers_max: int = 4
    """Queries that run at the same time."""
    queue_max: int = 256
    """Queries that wait for a worker; one more is answered 503."""
    points_max: int = 11_000
    """Steps of a range query."""
    body_bytes_max: int = 1 << 20
    """Size of a form body, in bytes."""
    body_timeout_s: float = 10.0
    """How long a client may take to send a form body, in seconds."""
    fields_max: int = 1_000
    """Parameters of one request."""
    selectors_max: int = 200
    """`match[]` of one request."""
    items_max: int = 200_000
    """Series, label names or values of one reply; more are cut, with a warning."""
    timeout_s: float = 120.0
    """Longest a client waits for one query; a smaller `timeout` parameter wins."""
    gzip_bytes_min: int = 1_024
    """Replies from this size on are compressed where the client accepts it."""
    version: str = "3.14.0"
    """The Prometheus whose API and language are spoken; Grafana decides by it what it asks for."""
