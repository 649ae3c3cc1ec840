"""Bring samples in: OTLP, scraping, GPUs through NVML, the host."""

from __future__ import annotations

from ninesight_collector.batch_builder import BatchBuilder, HistogramPoint
from ninesight_collector.collector import Collector
from ninesight_collector.config import (
    CollectorConfig,
    GpuConfig,
    HostConfig,
    OtlpConfig,
    ScenarioConfig,
    ScrapeConfig,
)
from ninesight_collector.contract import Health, Sampler, TargetView
from ninesight_collector.counters import Counters
from ninesight_collector.errors import CollectorError

__all__ = [
    "BatchBuilder",
    "Collector",
    "CollectorConfig",
    "CollectorError",
    "Counters",
    "GpuConfig",
    "Health",
    "HistogramPoint",
    "HostConfig",
    "OtlpConfig",
    "Sampler",
    "ScenarioConfig",
    "ScrapeConfig",
    "TargetView",
]
