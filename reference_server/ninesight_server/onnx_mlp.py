"""Multi-layer perceptrons as ONNX models, built in code: real graphs, seeded weights, nothing downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["HEAVY", "LIGHT", "MlpShape", "mlp_model", "mlp_reference", "mlp_weights"]

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MlpShape:
    """Widths from input to output; hidden layers end in ReLU, the last in softmax."""

    widths: tuple[int, ...]
    seed: int


LIGHT = MlpShape((64, 512, 512, 10), seed=1)
"""About 20 us a row: the server around it is what costs."""
HEAVY = MlpShape((256, 2048, 2048, 2048, 16), seed=2)
"""About 3 ms a row alone, far less in a batch: its 34 MB of weights are read once per run."""


def mlp_weights(shape: MlpShape) -> list[tuple[Float32, Float32]]:
    """Return (matrix, bias) per layer, scaled after He et al. 2015 so that activations neither die nor explode."""
    rng = np.random.default_rng(shape.seed)
    layers = []
    for fan_in, fan_out in zip(shape.widths, shape.widths[1:], strict=False):
        matrix = rng.standard_normal((fan_in, fan_out), dtype=np.float32) * np.float32((2.0 / fan_in) ** 0.5)
        bias = rng.standard_normal(fan_out, dtype=np.float32) * np.float32(0.1)
        layers.append((matrix, bias))
    return layers


def mlp_model(shape: MlpShape, layers: list[tuple[Float32, Float32]]) -> bytes:
    """Return the serialised ONNX model: input `x` [batch, widths[0]], output `probabilities` [batch, widths[-1]]."""
    nodes, initializers = [], []
    value = "x"
    for number, (matrix, bias) in enumerate(layers):
        last = number == len(layers) - 1
        initializers += [
            numpy_helper.from_array(matrix, f"w{number}"),
            numpy_helper.from_array(bias, f"b{number}"),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"h{number}"]))
        value = "probabilities" if last else f"a{number}"
        # Softmax works on the last axis by default.
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"h{number}"], [value]))
    graph = helper.make_graph(
        nodes,
        f"mlp-{shape.seed}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", shape.widths[0]])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", shape.widths[-1]])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def mlp_reference(layers: list[tuple[Float32, Float32]], rows: Float32) -> Float32:
    """Compute the same network with numpy: the truth a loaded model is proven against."""
    value = rows.astype(np.float64)
    for number, (matrix, bias) in enumerate(layers):
        value = value @ matrix + bias
        if number < len(layers) - 1:
            value = np.maximum(value, 0.0)
    value = np.exp(value - value.max(axis=1, keepdims=True))
    result: Float32 = (value / value.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
