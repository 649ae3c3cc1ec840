"""What code passes to the receiver."""

from __future__ import annotations

from dataclasses import dataclass

from ninesight_collector.config import OtlpConfig

__all__ = ["OtlpSettings"]


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Limits and the token of the receiver; see `OtlpConfig` for each."""

    body_bytes_max: int = 8 << 20
    body_timeout_s: float = 10.0
    in_flight_max: int = 8
    labels_max: int = 64
    label_value_bytes_max: int = 4096
    resource_labels: tuple[str, ...] = ("simulated", "deployment.environment", "deployment.environment.name")
    future_ms_max: int = 600_000
    """A point further in the future than this is refused: its sender's clock is wrong."""
    token: str = ""

    @property
    def elements_max(self) -> int:
        """How many messages a request may hold: what an honest body of the largest size stays below.

        An empty message takes two bytes, and a few kilobytes of gzip hold millions of them.
        """
        return self.body_bytes_max // 16

    @classmethod
    def of(cls, config: OtlpConfig) -> OtlpSettings:
        """Return the settings of what a person wrote."""
        return cls(
            body_bytes_max=config.body_bytes_max,
            body_timeout_s=config.body_timeout,
            in_flight_max=config.in_flight_max,
            labels_max=config.labels_max,
            label_value_bytes_max=config.label_value_bytes_max,
            resource_labels=config.resource_labels,
            token=config.token.get_secret_value() if config.token else "",
        )
