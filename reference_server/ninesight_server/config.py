"""What a person may set on the reference server."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerSettings"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of one server process. Raises ValueError that names the setting."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    timeout_s: float = 2.0
    """From arrival to answer; a later answer is 504."""
    queue_requests_max: int = 512
    """Per model; a request beyond it is shed with 503."""
    batch_rows_max: int = 64
    body_bytes_max: int = 4 << 20
    accelerator: str | None = None
    """The `gpu` label of accelerator-seconds; None = the device really used."""
    faults: bool = False
    """Let `POST /admin/faults/{model}` slow a model down or make it fail: for demos and tests only."""
    golden_every_s: float = 60.0
    """How often each model is asked its golden input."""
    drain_s: float = 10.0
    """After SIGTERM: not ready at once, running requests get this long."""

    def __post_init__(self) -> None:
        for name in (
            "timeout_s",
            "queue_requests_max",
            "batch_rows_max",
            "body_bytes_max",
            "golden_every_s",
            "drain_s",
        ):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, got {value}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
