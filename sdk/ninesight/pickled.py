"""How a decorated function travels to another process: by name, to be found again in the SDK over there.

Frameworks that ship functions by value (Ray's cloudpickle) meet our objects in their closures. Locks,
buffers and counts stay where they are: the receiving process uses its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ninesight.contract import Labels
    from ninesight.series import ModelSeries
    from ninesight.slots import Point

__all__ = ["point_of", "series_of", "shared"]


def shared(name: str) -> Any:
    """Return a part of this process' runtime: buffers, faults or registry."""
    from ninesight.api import RUNTIME

    return getattr(RUNTIME, name)


def series_of(model: str, version: str, labels: Labels) -> ModelSeries:
    """Return this process' totals of a model version and own labels."""
    from ninesight.api import RUNTIME

    return RUNTIME.series(model, version, labels)


def point_of(series: ModelSeries, predictions: int) -> Point:
    """Return this process' observation point."""
    return series.buffers.point(series, predictions)
