"""Where everything is sent: the exporters that the settings ask for, and what becomes of an attempt.

Used by the export thread. A failure is told once and counted by whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from ninesight.config import SdkConfig, otlp_url
from ninesight.contract import Exporter, Snapshot
from ninesight.delta import Delivered
from ninesight.errors import ExportError, PermanentError
from ninesight.faults import Faults
from ninesight.forks import importing
from ninesight.partial import Rejections

if TYPE_CHECKING:
    from ninesight.keeper import Keeper
    from ninesight.otlp_spans import OtlpSpans

__all__ = ["Outlets"]

_CALLS_MAX = 256
"""Kept calls in one push."""


class Outlets:
    """The user's own exporter, or OTLP, for metrics; OTLP for traces."""

    def __init__(
        self,
        config: SdkConfig,
        own: Exporter | None,
        faults: Faults,
        rejections: Rejections,
        delivered: Delivered,
    ) -> None:
        self._faults = faults
        self._own = own
        self.metrics: Exporter | None = own or _metrics_of(config, rejections, delivered)
        self.spans: OtlpSpans | None = _spans_of(config, rejections)

    @property
    def used(self) -> bool:
        """True when there is somewhere to send to."""
        return self.metrics is not None or self.spans is not None

    def send_metrics(self, snapshot: Callable[[], Snapshot]) -> bool:
        """Send a snapshot; False if it was not taken."""
        exporter = self.metrics
        assert exporter is not None, "asked only with an exporter"
        return self._attempt("metrics", lambda: exporter.export(snapshot()))

    def send_spans(self, keeper: Keeper | None, resource: Mapping[str, str]) -> bool:
        """Send the kept calls that wait; those not taken wait again, those that never will be are dropped."""
        exporter = self.spans
        if keeper is None or exporter is None:
            return True
        while calls := keeper.take(_CALLS_MAX):
            try:
                exporter.export(calls, resource)
            except Exception as error:
                if isinstance(error, PermanentError):
                    keeper.counts.dropped += len(calls)
                else:
                    keeper.give_back(calls)
                self._tell("traces", error)
                return False
        return True

    def close(self) -> None:
        """Close what is ours; the user's own exporter is closed at shutdown."""
        for exporter in (None if self.metrics is self._own else self.metrics, self.spans):
            if exporter is not None:
                with suppress(Exception):
                    exporter.close()

    def _attempt(self, what: str, send: Callable[[], None]) -> bool:
        try:
            send()
        except Exception as error:
            self._tell(what, error)
            return False
        return True

    def _tell(self, what: str, error: Exception) -> None:
        if isinstance(error, ExportError):
            self._faults.tell(
                f"export {what}", "%s were not taken: %s; the next push tries again", what, error
            )
        else:
            self._faults.internal(f"exporting {what}", error)


def _metrics_of(config: SdkConfig, rejections: Rejections, delivered: Delivered) -> Exporter | None:
    if config.otlp_endpoint is None:
        return None
    with importing():
        from ninesight.otlp import OtlpExporter

    return OtlpExporter(
        otlp_url(config.otlp_endpoint, "metrics", config.otlp_protocol),
        headers=config.otlp_headers,
        timeout_s=config.export_timeout_s,
        protocol=config.otlp_protocol,
        temporality=config.otlp_temporality,
        rejections=rejections,
        delivered=delivered,
    )


def _spans_of(config: SdkConfig, rejections: Rejections) -> OtlpSpans | None:
    endpoint = config.otlp_traces_endpoint or config.otlp_endpoint
    if not config.traces or endpoint is None:
        return None
    with importing():
        from ninesight.otlp_spans import OtlpSpans

    return OtlpSpans(
        otlp_url(endpoint, "traces", config.otlp_protocol),
        headers=config.otlp_headers,
        timeout_s=config.export_timeout_s,
        protocol=config.otlp_protocol,
        rejections=rejections,
    )
