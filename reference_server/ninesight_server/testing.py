"""For tests of others: a backend without ONNX, and a server run in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ninesight_server.contract import Golden, ModelSpec, Tensors, TensorSpec

__all__ = ["DoublingBackend"]


class DoublingBackend:
    """Answers `y = 2 x` after `run_s` seconds of `sleep`. Fulfils `contract.Backend`; records batch lengths.

    `drift` is added to every number: a model that has gone wrong without an error.
    """

    def __init__(
        self, name: str = "double", *, run_s: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.batches: list[int] = []
        self.loaded = False
        self.drift = 0.0
        self._run_s = run_s
        self._sleep = sleep
        self._spec = ModelSpec(
            name, "1", "test", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),)
        )

    @property
    def spec(self) -> ModelSpec:
        """The model's face."""
        return self._spec

    @property
    def device(self) -> str:
        """Always `cpu`."""
        return "cpu"

    @property
    def golden(self) -> Golden:
        """One row."""
        row = np.array([[1.0, -3.0]], np.float32)
        return Golden({"x": row}, {"y": row * np.float32(2.0)}, 1e-6)

    def load(self) -> None:
        """Become ready."""
        self.loaded = True

    def run(self, batch: Tensors) -> Tensors:
        """Double every number."""
        if self._run_s:
            self._sleep(self._run_s)
        self.batches.append(len(batch["x"]))
        return {"y": np.multiply(batch["x"], np.float32(2.0)) + np.float32(self.drift)}

    def unload(self) -> None:
        """Become unready."""
        self.loaded = False
