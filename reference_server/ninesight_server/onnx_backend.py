"""ONNX Runtime as a backend: CUDA where its provider is present, else the CPU with one thread."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from ninesight_server.contract import Golden, ModelSpec, Tensors, TensorSpec
from ninesight_server.errors import InferenceError
from ninesight_server.onnx_mlp import HEAVY, LIGHT, MlpShape, mlp_model, mlp_reference, mlp_weights

__all__ = ["OnnxMlpBackend", "reference_models"]

_GOLDEN_ROWS = 4
_GOLDEN_TOLERANCE = 1e-4
"""Largest difference allowed between ONNX Runtime in float32 and numpy in float64."""


class OnnxMlpBackend:
    """One perceptron in an `InferenceSession`. Fulfils `contract.Backend`."""

    def __init__(
        self, name: str, shape: MlpShape, *, version: str = "1", accelerator: str | None = None
    ) -> None:
        """`accelerator` overrides the `gpu` label, for a demo that gives CPU models a simulated GPU."""
        self._shape = shape
        self._session: ort.InferenceSession | None = None
        self._cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        self._accelerator = accelerator
        self._golden: Golden | None = None
        wide, narrow = shape.widths[0], shape.widths[-1]
        self._spec = ModelSpec(
            name=name,
            version=version,
            platform="onnx_onnxruntime",
            inputs=(TensorSpec("x", "FP32", (-1, wide)),),
            outputs=(TensorSpec("probabilities", "FP32", (-1, narrow)),),
        )

    @property
    def spec(self) -> ModelSpec:
        """The model's face."""
        return self._spec

    @property
    def device(self) -> str:
        """`0` under CUDA, else `cpu`, unless overridden."""
        return self._accelerator or ("0" if self._cuda else "cpu")

    @property
    def golden(self) -> Golden:
        """Rows drawn by a fixed seed, and their answer as numpy computes it."""
        if self._golden is None:
            raise InferenceError(f"{self._spec.name} is not loaded")
        return self._golden

    def load(self) -> None:
        """Build the graph and open a session."""
        layers = mlp_weights(self._shape)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = ["CUDAExecutionProvider"] if self._cuda else []
        self._session = ort.InferenceSession(
            mlp_model(self._shape, layers), options, providers=[*providers, "CPUExecutionProvider"]
        )
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((_GOLDEN_ROWS, self._shape.widths[0]), dtype=np.float32)
        answer = mlp_reference(layers, rows)
        self._golden = Golden({"x": rows}, {"probabilities": answer}, _GOLDEN_TOLERANCE)

    def run(self, batch: Tensors) -> Tensors:
        """Run one batch of rows."""
        if self._session is None:
            raise InferenceError(f"{self._spec.name} is not loaded")
        try:
            (result,) = self._session.run(["probabilities"], {"x": batch["x"]})
        except Exception as error:
            raise InferenceError(f"{self._spec.name}: {error}") from error
        output: npt.NDArray[np.generic] = result
        return {"probabilities": output}

    def unload(self) -> None:
        """Close the session."""
        self._session = None


def reference_models(accelerator: str | None = None) -> tuple[OnnxMlpBackend, ...]:
    """Return the two models that ship: one light, one heavy."""
    return (
        OnnxMlpBackend("digits-light", LIGHT, accelerator=accelerator),
        OnnxMlpBackend("ranker-heavy", HEAVY, accelerator=accelerator),
    )
