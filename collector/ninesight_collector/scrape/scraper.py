"""One target, scraped: its page, `up`, and what the scrape itself was like."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
from ninesight_store.contract import Batch, Labels, Metadata, labels_of

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.config import ScrapeConfig
from ninesight_collector.contract import Health
from ninesight_collector.counters import Counters
from ninesight_collector.errors import ExpositionError, ScrapeError
from ninesight_collector.scrape.exposition import ExpositionLimits, ExpositionParser
from ninesight_collector.scrape.fetch import fetch
from ninesight_collector.scrape.protobuf import ProtobufParser
from ninesight_collector.scrape.target_labels import TargetLabels

__all__ = ["ScrapeSettings", "Scraper", "scrape_settings"]

_OWN = ("up", "scrape_duration_seconds", "scrape_samples_scraped")


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """One target of a job; see `ScrapeConfig` for each."""

    job: str
    url: str
    interval_s: float = 15.0
    timeout_s: float = 10.0
    labels: dict[str, str] = field(default_factory=dict)
    honour_labels: bool = False
    follow_redirects: bool = True
    native_histograms: bool = True
    classic_histograms: bool = False
    body_bytes_max: int = 16 << 20
    limits: ExpositionLimits = field(default_factory=ExpositionLimits)

    @property
    def instance(self) -> str:
        """host:port, the port written even where it is the scheme's own."""
        url = urlsplit(self.url)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"


def scrape_settings(config: ScrapeConfig) -> list[ScrapeSettings]:
    """Return the targets of a job as a person wrote it."""
    return [
        ScrapeSettings(
            job=config.job,
            url=target if "://" in target else f"{config.scheme}://{target}{config.path}",
            interval_s=config.interval,
            timeout_s=config.timeout_s,
            labels=dict(config.labels),
            honour_labels=config.honour_labels,
            follow_redirects=config.follow_redirects,
            native_histograms=config.native_histograms,
            classic_histograms=config.classic_histograms,
            body_bytes_max=config.body_bytes_max,
            limits=ExpositionLimits(config.series_max, config.labels_max, config.label_value_bytes_max),
        )
        for target in config.targets
    ]


class Scraper:
    """Samples one target over HTTP. A target that is down gives `up` 0 and stale markers, never an exception."""

    def __init__(
        self,
        settings: ScrapeSettings,
        client: httpx2.Client,
        counters: Counters,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._client = client
        self._counters = counters
        self._monotonic = monotonic
        self._health = Health()
        self._builder = BatchBuilder(marks_stale=True)
        labels = {**settings.labels}
        labels.setdefault("job", settings.job)
        labels.setdefault("instance", settings.instance)
        self.labels = labels_of("", labels)
        """Put on every series of the target."""
        target = TargetLabels(labels, settings.honour_labels)
        self._text = ExpositionParser(target, settings.limits)
        self._protobuf = ProtobufParser(target, settings.limits, settings.classic_histograms)
        self._own: list[Labels] = [labels_of(name, labels) for name in _OWN]

    def sample(self, now_ms: int) -> Batch:
        """Scrape once."""
        began = self._monotonic()
        self._counters.add("scrapes_total", job=self.settings.job)
        samples = 0
        try:
            samples = self._scrape(now_ms)
            self._health = Health(up=True)
        except (ScrapeError, ExpositionError) as error:
            self._down(str(error), error.reason)
        except Exception as error:
            # A page may find a case nobody thought of; it must not end the loop.
            self._down(f"the page could not be taken: {type(error).__name__}: {error}", "bug")
        duration_s = self._monotonic() - began
        for labels, value in zip(
            self._own, (float(self._health.up is True), duration_s, float(samples)), strict=True
        ):
            self._builder.add(labels, now_ms, value)
        for reason, count in self._builder.exemplars.take_left_out().items():
            self._counters.add("exemplars_left_out_total", count, source="scrape", reason=reason)
        return self._builder.batch(now_ms)

    def health(self) -> Health:
        """Return how the last scrape went."""
        return self._health

    def metadata(self) -> tuple[Metadata, ...]:
        """Return what the target has said of its metrics. Safe to call from any thread."""
        return self._builder.described()

    def _scrape(self, now_ms: int) -> int:
        settings = self.settings
        page = fetch(
            self._client,
            settings.url,
            timeout_s=settings.timeout_s,
            bytes_max=settings.body_bytes_max,
            follow_redirects=settings.follow_redirects,
            protobuf=settings.native_histograms,
        )
        if page.form == "protobuf":
            return self._protobuf.parse(page.body, self._builder, now_ms)
        return self._text.parse(page.text(), self._builder, now_ms, open_metrics=page.form == "open_metrics")

    def _down(self, error: str, reason: str) -> None:
        self._builder.discard()
        self._health = Health(up=False, error=error)
        self._counters.add("scrape_failures_total", job=self.settings.job, reason=reason)
