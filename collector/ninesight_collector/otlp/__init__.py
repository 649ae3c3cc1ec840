"""OTLP/HTTP metrics receiver: `routes(sink, settings, counters, now_ms)`."""

from __future__ import annotations

from ninesight_collector.otlp.receiver import Receiver, routes
from ninesight_collector.otlp.settings import OtlpSettings
from ninesight_collector.otlp.translate import Refusals, Translated, translate

__all__ = ["OtlpSettings", "Receiver", "Refusals", "Translated", "routes", "translate"]
