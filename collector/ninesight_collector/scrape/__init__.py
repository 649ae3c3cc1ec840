"""Scrape Prometheus pages, text and protobuf, from HTTP targets."""

from __future__ import annotations

from ninesight_collector.scrape.exposition import ExpositionLimits, ExpositionParser
from ninesight_collector.scrape.fetch import scrape_client
from ninesight_collector.scrape.protobuf import ProtobufParser
from ninesight_collector.scrape.scraper import Scraper, ScrapeSettings, scrape_settings
from ninesight_collector.scrape.target_labels import TargetLabels

__all__ = [
    "ExpositionLimits",
    "ExpositionParser",
    "ProtobufParser",
    "ScrapeSettings",
    "Scraper",
    "TargetLabels",
    "scrape_client",
    "scrape_settings",
]
