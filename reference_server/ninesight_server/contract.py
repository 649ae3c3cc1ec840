"""What a model is to this server: a backend that loads, runs batches, and unloads.

request ─decode─► Batcher (bounded queue) ─batch─► Backend.run ─split─► responses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Backend", "Golden", "ModelSpec", "TensorSpec", "Tensors"]

Tensors = Mapping[str, npt.NDArray[np.generic]]
"""Tensors by name. Axis 0 is the batch."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as the Open Inference Protocol describes it; -1 in `shape` is a free dimension."""

    name: str
    datatype: str
    """FP32, INT64 ... after the protocol."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What a client may know of a model."""

    name: str
    version: str
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Golden:
    """An input whose right answer is known from elsewhere."""

    inputs: Tensors
    outputs: Tensors
    tolerance: float
    """Largest difference that any number of the answer may have."""

    def fault(self, found: Tensors) -> str | None:
        """Say what is wrong with an answer; None if it is right."""
        for name, wanted in self.outputs.items():
            values = found.get(name)
            if values is None or values.shape != wanted.shape:
                shape = None if values is None else values.shape
                return f"the golden input's {name!r} must have the shape {wanted.shape}, got {shape}"
            worst = float(np.abs(np.subtract(values, wanted, dtype=np.float64)).max(initial=0.0))
            if not worst <= self.tolerance:
                return f"the golden input must be answered within {self.tolerance:g}, was off by {worst:g}"
        return None


class Backend(Protocol):
    """One model on one device. `run` is called from one thread at a time."""

    @property
    def spec(self) -> ModelSpec:
        """Say what the model takes and gives."""

    @property
    def device(self) -> str:
        """Where it runs, e.g. "cpu" or "0" for the first GPU: the `gpu` label of its accelerator-seconds."""

    @property
    def golden(self) -> Golden:
        """What it must answer to be served. Known once it is loaded."""

    def load(self) -> None:
        """Make it ready to run. Raises InferenceError."""

    def run(self, batch: Tensors) -> Tensors:
        """Run one batch; outputs have the same length on axis 0. Raises InferenceError."""

    def unload(self) -> None:
        """Give its memory back. Safe to call twice."""
