"""What the collector may raise, or report where raising would lose data.

CollectorError
|- ConfigError           a setting cannot hold; names the key
|- ExpositionError       a scraped page cannot be read, or is over a limit
|- ScrapeError           a target did not answer as it must
|- BodyError             a pushed body cannot be taken; carries the HTTP status
|- ScenarioError         a simulated-GPU scenario cannot be read
`- GpuUnavailableError   there is no driver, or it does not answer
"""

from __future__ import annotations

__all__ = [
    "BodyError",
    "CollectorError",
    "ConfigError",
    "ExpositionError",
    "GpuUnavailableError",
    "ScenarioError",
    "ScrapeError",
]


class CollectorError(Exception):
    """Base of every error of this part."""


class ConfigError(CollectorError, ValueError):
    """A setting cannot hold; the message names the key in the user's spelling."""


class ExpositionError(CollectorError):
    """A scraped page cannot be read. `reason` is one of parse, labels, series, size."""

    def __init__(self, message: str, *, reason: str = "parse") -> None:
        super().__init__(message)
        self.reason = reason


class ScrapeError(CollectorError):
    """A target did not answer as it must. `reason` is one of connect, timeout, status, redirect, size, encoding."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class BodyError(CollectorError):
    """A pushed body cannot be taken; `status` is the HTTP status, `reason` the counter's label."""

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ScenarioError(CollectorError):
    """A simulated-GPU scenario cannot be read; the message names the file or the key."""


class GpuUnavailableError(CollectorError):
    """No NVIDIA driver answers; the message says what was tried."""
