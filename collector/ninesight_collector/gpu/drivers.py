"""Which library speaks under the binding: the driver's own, or the labelled stand-in."""

from __future__ import annotations

from typing import Protocol

from ninesight_collector.gpu.binding import driver_close, driver_open
from ninesight_collector.gpu.standin import StandinLibrary

__all__ = ["Driver", "NvmlDriver", "SimulatedDriver"]


class Driver(Protocol):
    """Puts a library under the binding and takes it away again."""

    def open(self) -> None:
        """Begin. Raises GpuUnavailableError."""

    def close(self) -> None:
        """End; safe to call twice."""


class NvmlDriver:
    """The driver installed on this machine."""

    def open(self) -> None:
        """Load it. Raises GpuUnavailableError."""
        driver_open()

    def close(self) -> None:
        """Let it go."""
        driver_close()


class SimulatedDriver:
    """The stand-in made of ctypes callbacks: needs no compiler and no driver."""

    def __init__(self, library: StandinLibrary) -> None:
        self._library = library

    def open(self) -> None:
        """Put it under the binding. Raises GpuUnavailableError while a real driver is in use there."""
        self._library.install()
        driver_open()

    def close(self) -> None:
        """Take it away."""
        if self._library.installed:
            driver_close()
            self._library.uninstall()
