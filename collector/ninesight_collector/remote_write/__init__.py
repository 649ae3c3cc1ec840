"""Prometheus remote write, 1.0 and 2.0: `routes(sink, settings, counters, now_ms)` receives."""

from __future__ import annotations

from ninesight_collector.remote_write.receiver import WriteReceiver, routes
from ninesight_collector.remote_write.settings import ReceiverSettings

__all__ = ["ReceiverSettings", "WriteReceiver", "routes"]
