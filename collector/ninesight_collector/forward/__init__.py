"""Send samples on: remote write through a queue on the disk, and several sinks as one."""

from __future__ import annotations

from ninesight_collector.forward.fan import FanOut
from ninesight_collector.forward.sender import RemoteWriter
from ninesight_collector.forward.settings import SenderSettings

__all__ = ["FanOut", "RemoteWriter", "SenderSettings"]
