"""Scrape text exposition from HTTP targets."""

from __future__ import annotations

from ninesight_collector.scrape.exposition import ExpositionLimits, ExpositionParser
from ninesight_collector.scrape.fetch import scrape_client
from ninesight_collector.scrape.scraper import Scraper, ScrapeSettings, scrape_settings

__all__ = [
    "ExpositionLimits",
    "ExpositionParser",
    "ScrapeSettings",
    "Scraper",
    "scrape_client",
    "scrape_settings",
]
