"""The collector's contract: who watches (`Sampler`), and how what is watched looks (`TargetView`).

scrape targets ─┐
GPUs, host ─────┼─ Sampler.sample(now_ms) ─► Batch ─► Delivery ─► Sink.write
OTLP senders ───┘                                        └─ bounded retries, drops counted
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ninesight_store.contract import Batch, Labels, Metadata

__all__ = ["Health", "Sampler", "TargetView"]


@dataclass(frozen=True, slots=True)
class Health:
    """How the last look at a target went. `up` is None where there is nothing to watch or no look yet."""

    up: bool | None = None
    error: str = ""


class Sampler(Protocol):
    """Watches one thing. Called from one thread at a time, never twice at once."""

    def sample(self, now_ms: int) -> Batch:
        """Return what is seen now, stamped `now_ms` (milliseconds since the epoch).

        Never raises for what it watches: a thing that is gone gives a batch without its series
        (with stale markers for those that were there before) and a `health` that says why.
        """

    def health(self) -> Health:
        """Return how the last `sample` went. Safe to call from any thread."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """One watched thing as a status page shows it."""

    kind: str
    """scrape, gpu, host, self, otlp or remote_write_receiver."""
    name: str
    """The job, or the sampler's name."""
    url: str
    """Where it is read from, without credentials; "" where there is no address."""
    up: bool | None
    """None: not looked at yet, or nothing there to watch."""
    last_ms: int
    """When it was last looked at, milliseconds since the epoch; 0 for never."""
    duration_s: float
    """How long the last look took, in seconds."""
    samples: int
    """Samples of the last look (for otlp: since the start)."""
    error: str
    """What went wrong the last time; "" for nothing."""
    labels: Labels = ()
    """Put on every series of a scrape target; () for anything else."""
    interval_s: float = 0.0
    """Time between two looks; 0 where others decide it."""
    timeout_s: float = 0.0
    """Longest wait for a scrape target."""
    metadata: tuple[Metadata, ...] = ()
    """What a scrape target said of its metrics."""
