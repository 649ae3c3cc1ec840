"""What code passes to the receiver."""

from __future__ import annotations

from dataclasses import dataclass

from ninesight_collector.config import RemoteWriteReceiverConfig

__all__ = ["ReceiverSettings"]


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Limits and the token of the receiver; see `RemoteWriteReceiverConfig` for each."""

    body_bytes_max: int = 16 << 20
    body_timeout_s: float = 10.0
    in_flight_max: int = 8
    labels_max: int = 64
    label_value_bytes_max: int = 4096
    future_ms_max: int = 600_000
    """A sample further in the future than this is refused: its sender's clock is wrong."""
    series_remembered_max: int = 100_000
    """Series whose labels need not be read again."""
    token: str = ""

    @property
    def fields_max(self) -> int:
        """How many protobuf fields a request may hold: what an honest body of the largest size stays below."""
        return self.body_bytes_max // 4

    @classmethod
    def of(cls, config: RemoteWriteReceiverConfig) -> ReceiverSettings:
        """Return the settings of what a person wrote."""
        return cls(
            body_bytes_max=config.body_bytes_max,
            body_timeout_s=config.body_timeout,
            in_flight_max=config.in_flight_max,
            labels_max=config.labels_max,
            label_value_bytes_max=config.label_value_bytes_max,
            token=config.token.get_secret_value() if config.token else "",
        )
