"""How far a long job is, told to whoever draws the bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Told", "unheard"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job is: `done` of `total`, in `unit`, at `step`."""

    step: str
    done: int
    total: int
    unit: str = "bytes"


Told = Callable[[Progress], None]
"""Called from the job's own thread, often; what it raises ends the job."""


def unheard(_progress: Progress) -> None:
    """Tell nobody."""
