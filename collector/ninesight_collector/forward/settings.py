"""What code passes to a sender, and how it comes from what a person wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward.client import ClientSettings
from ninesight_collector.forward.spool import SpoolSettings

__all__ = ["SenderSettings"]


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """One receiver; see `RemoteWriteConfig` for each."""

    name: str
    client: ClientSettings
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    protocol: Literal["auto", "1.0", "2.0"] = "auto"
    native_histograms: Literal["auto", "send", "classic"] = "auto"
    exemplars: bool = True
    samples_per_request: int = 5_000
    backoff_s_min: float = 0.1
    backoff_s_max: float = 30.0

    @property
    def where(self) -> str:
        """The address without a query, which may hold a secret."""
        return self.client.url.partition("?")[0]

    @classmethod
    def of(cls, config: RemoteWriteConfig) -> SenderSettings:
        """Return the settings of what a person wrote."""
        return cls(
            config.target,
            ClientSettings(
                url=config.url,
                timeout_s=config.timeout,
                connections_max=config.shards,
                username=config.username,
                password=config.password.get_secret_value() if config.password else "",
                bearer_token=config.bearer_token.get_secret_value() if config.bearer_token else "",
                bearer_token_file=config.bearer_token_file,
                headers={name: value.get_secret_value() for name, value in config.headers.items()},
                ca_file=config.ca_file,
            ),
            SpoolSettings(
                config.shards,
                config.queue_bytes_max,
                config.queue_age_max,
                # The file being written is never dropped, so it must be a small part of what is allowed.
                min(16 << 20, config.queue_bytes_max // 8),
            ),
            config.protocol,
            config.native_histograms,
            config.exemplars,
            config.samples_per_request,
            config.backoff_min,
            config.backoff_max,
        )
