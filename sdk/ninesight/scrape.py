"""The answer to a scrape, whatever server it comes through: the Accept header decides the format."""

from __future__ import annotations

from collections.abc import Callable

from ninesight import protobuf
from ninesight.contract import Snapshot
from ninesight.forks import importing

__all__ = ["GZIP_BYTES_MIN", "render", "wants_protobuf"]

GZIP_BYTES_MIN = 1024
"""Smaller answers are not worth compressing."""


def wants_protobuf(accept: str) -> bool:
    """True when the delimited protobuf format is asked for at least as much as any other."""
    best_other = 0.0
    best_protobuf = 0.0
    for choice in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in choice.split(";"))
        told = dict(part.partition("=")[::2] for part in parameters)
        try:
            quality = float(told.get("q", "1"))
        except ValueError:
            quality = 0.0
        if (
            kind == "application/vnd.google.protobuf"
            and told.get("proto") == "io.prometheus.client.metricfamily"
            and told.get("encoding") == "delimited"
        ):
            best_protobuf = max(best_protobuf, quality)
        elif kind:
            best_other = max(best_other, quality)
    return best_protobuf > 0.0 and best_protobuf >= best_other


def render(snapshot: Callable[[], Snapshot], accept: str) -> tuple[str, bytes]:
    """Return (content type, body) of a scrape."""
    if wants_protobuf(accept):
        return protobuf.CONTENT_TYPE, protobuf.encode(snapshot())
    with importing():
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        from ninesight.exposition import NinesightCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(NinesightCollector(snapshot))
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)
