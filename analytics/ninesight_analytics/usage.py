"""Who used the accelerators: seconds per model, from the best source there is.

In order: the SDK's batch execution time, a foreign server's own busy counter (Triton's compute
time), NVML's utilisation per process. A model is counted by the first source that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from ninesight_query.contract import Engine

from ninesight_analytics.contract import Basis, Key, Window
from ninesight_analytics.presence import grid_of, host_of, matrix
from ninesight_analytics.rows import ask, totals
from ninesight_analytics.selectors import grouping, range_of

__all__ = ["Usage", "Used", "predictions", "usage"]

_BY = grouping(("model", "version", "instance", "gpu", "simulated"))
_PROCESS_STEPS_MAX = 720


@dataclass(frozen=True, slots=True)
class Used:
    """Accelerator-seconds of one model version on one GPU."""

    model: str
    version: str
    host: str
    gpu: str
    """Index or UUID, "" where the source does not say."""
    seconds: float
    basis: Basis
    simulated: bool

    @property
    def key(self) -> Key:
        """(model, version)."""
        return self.model, self.version


@dataclass(frozen=True)
class Usage:
    """Everything measured in a window."""

    rows: tuple[Used, ...]

    @property
    def basis(self) -> Basis:
        """The source of most of the seconds."""
        seconds: dict[Basis, float] = {}
        for row in self.rows:
            seconds[row.basis] = seconds.get(row.basis, 0.0) + row.seconds
        return max(seconds, key=lambda basis: seconds[basis]) if seconds else Basis.NONE

    @property
    def bases(self) -> tuple[Basis, ...]:
        """Every source that was used, best first."""
        present = {row.basis for row in self.rows}
        order = (Basis.SDK_BATCH, Basis.BUSY_COUNTER, Basis.PROCESS_UTILIZATION)
        return tuple(basis for basis in order if basis in present)

    @property
    def simulated(self) -> bool:
        """True where any source says so."""
        return any(row.simulated for row in self.rows)


def usage(engine: Engine, window: Window) -> Usage:
    """Return the measured accelerator-seconds of a window. Three queries. Raises QueryError."""
    found: list[Used] = []
    for source in (_batches(engine, window), _busy(engine, window), _processes(engine, window)):
        known = {row.model for row in found}
        found += [row for row in source if row.model not in known and row.seconds > 0]
    return Usage(tuple(found))


def predictions(engine: Engine, window: Window) -> dict[Key, float]:
    """Return predictions by (model, version): ours, and Triton's inference count for models of its own."""
    span, by = range_of(window), ("model", "version")
    found = totals(ask(engine, f"sum {grouping(by)} (increase(nv_inference_count{span}))", window.end_ms), by)
    ours = ask(engine, f"sum {grouping(by)} (increase(model_predictions_total{span}))", window.end_ms)
    return found | totals(ours, by)


def _counter(engine: Engine, window: Window, metric: str, unit_s: float, basis: Basis) -> Iterable[Used]:
    query = f"sum {_BY} (increase({metric}{range_of(window)}))"
    for row in ask(engine, query, window.end_ms):
        yield _used(row.labels, row.value * unit_s, basis)


def _batches(engine: Engine, window: Window) -> Iterable[Used]:
    return _counter(engine, window, "model_accelerator_seconds_total", 1.0, Basis.SDK_BATCH)


def _busy(engine: Engine, window: Window) -> Iterable[Used]:
    return _counter(engine, window, "nv_inference_compute_infer_duration_us", 1e-6, Basis.BUSY_COUNTER)


def _processes(engine: Engine, window: Window) -> Iterable[Used]:
    """Integrate utilisation over the window: the ratio at each step times the step."""
    grid = grid_of(window, _PROCESS_STEPS_MAX)
    answer = matrix(engine, f'sum {_BY} (gpu_process_utilization_ratio{{model!=""}})', grid)
    inside = answer.timestamps > grid.start_ms
    step_s = window.duration_s / grid.steps
    for row, labels in enumerate(answer.labels):
        counted = answer.present[row] & inside & ~np.isnan(answer.values[row])
        seconds = float(answer.values[row][counted].sum()) * step_s
        yield _used(dict(labels), seconds, Basis.PROCESS_UTILIZATION)


def _used(labels: Mapping[str, str], seconds: float, basis: Basis) -> Used:
    return Used(
        model=labels.get("model", ""),
        version=labels.get("version", ""),
        host=host_of(labels.get("instance", "")),
        gpu=labels.get("gpu", ""),
        seconds=seconds,
        basis=basis,
        simulated=labels.get("simulated") == "true",
    )
