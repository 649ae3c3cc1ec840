"""Which priced units (GPUs, instances) were there, and when.

A unit is there from its first to its last sample; the query's look-back of 5 minutes bridges
shorter gaps. The window is cut into at most 1,440 steps, and at each the age of the newest sample
is asked:

    samples      x x x x x x . . . . x x x x x
    steps      |   |   |   |   |   |   |   |   |
    there        [========]          [==========]

A unit that is there at both ends of the window was there for exactly the window. Where it comes
or goes inside, the end of its time is its last sample's own timestamp and the start is at most
one step late (60 s in a day, 2.5 s in an hour, 15 min in a week).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from ninesight_query.contract import Engine, Matrix

from ninesight_analytics.arrays import Float64, Int64
from ninesight_analytics.contract import Window

__all__ = ["STEPS_MAX", "Grid", "Span", "Unit", "gpus", "grid_of", "host_of", "instances", "matrix"]

STEPS_MAX = 1440
_STEP_MS_MIN = 1000
_LONG_MS = 7 * 86_400_000
_LONG_STEP_MS = 900_000
"""From a week on steps are multiples of this, on which an engine may answer from sums instead of samples."""
_STILL_THERE_MS = 60_000
"""A last sample this young at the window's end means: still there."""

Span = tuple[int, int]
"""(begin, end) in milliseconds."""

_NAME_LABELS = ("name", "gpu_model", "modelName", "product")
"""Where exporters put the GPU's name, ours first."""


@dataclass(frozen=True)
class Unit:
    """Something that has a price, with the time it was there."""

    host: str
    """The `instance` label without its port."""
    gpu: str = ""
    """Index on its host; "" for an instance."""
    uuid: str = ""
    gpu_model: str = ""
    simulated: bool = False
    spans: tuple[Span, ...] = ()
    """Disjoint, ascending."""

    @property
    def label(self) -> str:
        """How notes call it."""
        what = (
            f"GPU {self.gpu or self.uuid} on {self.host}"
            if self.gpu or self.uuid
            else f"instance {self.host}"
        )
        return f"{what} ({self.gpu_model})" if self.gpu_model else what

    @property
    def seconds(self) -> float:
        """Time it was there."""
        return sum(end - begin for begin, end in self.spans) / 1000.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Steps that end exactly at a window's end; the first lies at or before its start."""

    window: Window
    step_ms: int
    steps: int

    @property
    def start_ms(self) -> int:
        """The first point."""
        return self.window.end_ms - self.steps * self.step_ms


def grid_of(window: Window, steps_max: int = STEPS_MAX) -> Grid:
    """Cut a window into at most `steps_max` steps of at least a second, of whole quarters of an hour in a long one."""
    length = window.end_ms - window.start_ms
    step_ms = max(_STEP_MS_MIN, -(-length // steps_max))
    if length >= _LONG_MS:
        step_ms = -(-step_ms // _LONG_STEP_MS) * _LONG_STEP_MS
    return Grid(window, step_ms, -(-length // step_ms))


def matrix(engine: Engine, query: str, grid: Grid) -> Matrix:
    """Ask over the grid. Raises QueryError."""
    value = engine.range(query, grid.start_ms, grid.window.end_ms, grid.step_ms).value
    if not isinstance(value, Matrix):
        raise TypeError(f"a range query must give a matrix, got {type(value).__name__}")
    return value


def host_of(instance: str) -> str:
    """Return an `instance` label without its port: agent and server on one machine differ only there."""
    host, colon, port = instance.rpartition(":")
    return host if colon and port.isdigit() else instance


def gpus(engine: Engine, window: Window) -> tuple[Unit, ...]:
    """Return every GPU seen in the window, by gpu_info or else by gpu_utilization_ratio. One query."""
    query = "timestamp(gpu_info) or on (instance, gpu, uuid) timestamp(gpu_utilization_ratio)"
    return _units(engine, query, window, _gpu_of)


def instances(engine: Engine, window: Window) -> tuple[Unit, ...]:
    """Return every machine seen in the window, by its host, GPU or request series. One query."""
    metrics = ("host_memory_total_bytes", "host_cpu_utilization_ratio", "gpu_info", "model_requests_total")
    query = " or ".join(f"max by (instance, simulated) (timestamp({metric}))" for metric in metrics)
    return _units(engine, query, window, _instance_of)


def _gpu_of(labels: Mapping[str, str]) -> Unit:
    name = next((labels[label] for label in _NAME_LABELS if labels.get(label)), "")
    return Unit(
        host=host_of(labels.get("instance", "")),
        gpu=labels.get("gpu", ""),
        uuid=labels.get("uuid", ""),
        gpu_model=name,
        simulated=labels.get("simulated") == "true",
    )


def _instance_of(labels: Mapping[str, str]) -> Unit:
    return Unit(host=host_of(labels.get("instance", "")), simulated=labels.get("simulated") == "true")


def _units(
    engine: Engine, query: str, window: Window, unit_of: Callable[[Mapping[str, str]], Unit]
) -> tuple[Unit, ...]:
    """Bring the series of each unit together and turn its newest-sample times into spans."""
    grid = grid_of(window)
    answer = matrix(engine, query, grid)
    # The answer may begin or end with absent steps left out; place what there is on the full grid.
    column = ((answer.timestamps - grid.start_ms) // grid.step_ms).astype(np.intp)
    found: dict[tuple[str, str, str], tuple[Unit, Float64]] = {}
    for row, labels in enumerate(answer.labels):
        unit = unit_of(dict(labels))
        newest = np.full(grid.steps + 1, -np.inf)
        newest[column] = np.where(answer.present[row], answer.values[row] * 1000.0, -np.inf)
        key = (unit.uuid, "", "") if unit.uuid else ("", unit.host, unit.gpu)
        known = found.get(key)
        if known is not None:
            unit = replace(
                known[0],
                gpu_model=known[0].gpu_model or unit.gpu_model,
                simulated=known[0].simulated or unit.simulated,
            )
            newest = np.maximum(known[1], newest)
        found[key] = (unit, newest)
    units = (replace(unit, spans=_spans(newest, grid)) for unit, newest in found.values())
    return tuple(sorted((unit for unit in units if unit.spans), key=lambda unit: unit.label))


def _spans(newest: Float64, grid: Grid) -> tuple[Span, ...]:
    """Turn the newest sample's time at each step (-inf: none) into the spans it was there, clipped to the window."""
    there = np.concatenate(([False], np.isfinite(newest), [False]))
    edges: Int64 = np.flatnonzero(there[1:] != there[:-1]).astype(np.int64)
    spans: list[Span] = []
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        begin = grid.window.start_ms if first == 0 else round(float(newest[first]))
        last = round(float(newest[after - 1]))
        still = after - 1 == grid.steps and grid.window.end_ms - last <= _STILL_THERE_MS
        begin, end = max(begin, grid.window.start_ms), grid.window.end_ms if still else last
        if end > begin:
            spans.append((begin, end))
    return tuple(spans)
