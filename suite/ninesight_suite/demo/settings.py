"""What a person may set on the demo, and what it must have seen to exit with 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ninesight_suite.address import Address

__all__ = ["DemoSettings", "Seen"]


@dataclass(frozen=True)
class DemoSettings:
    """Settings of one run."""

    folder: Path
    """Everything the demo writes; emptied at start."""
    seconds: float | None = None
    """Stop by itself after this long; None = until Ctrl-C."""
    history_s: float = 0.0
    """Length of the labelled, simulated past; 0 = none."""
    api: Address = field(default_factory=lambda: Address("127.0.0.1", 9901))
    pages: Address = field(default_factory=lambda: Address("127.0.0.1", 9900))
    rate_per_s: float = 40.0
    """Requests a second over both models."""
    fault_after_s: float = 20.0
    """Seconds of quiet traffic before the fault."""
    delay_ms: float = 900.0
    """The fault: added before every batch of the faulty model."""
    faulty_model: str = "ranker-heavy"


@dataclass
class Seen:
    """What the demo saw with its own eyes; `missing` names the rest."""

    data: bool = False
    page: bool = False
    alert: bool = False
    webhook: bool = False
    resolution: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """What was not seen."""
        return tuple(name for name, value in vars(self).items() if not value)
