"""Open Inference Protocol v2 tensors: JSON to numpy and back, validated against the model's face.

Source: the Open Inference Protocol, REST, "Inference Request JSON Object".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_server.contract import ModelSpec, Tensors, TensorSpec
from ninesight_server.errors import InvalidInputError

__all__ = ["ROWS_MAX", "decode_inputs", "encode_outputs"]

ROWS_MAX = 256
"""Rows in one request: a larger one would hold up everybody behind it."""

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}


def decode_inputs(body: Any, spec: ModelSpec) -> Tensors:
    """Return the request's tensors. Raises InvalidInputError naming the tensor, what it must be, what was given."""
    if not isinstance(body, dict):
        raise InvalidInputError(f"the request must be a JSON object with inputs, got {_kind(body)}")
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidInputError(f"inputs must be a list of tensors, got {_kind(inputs)}")
    given: dict[str, Any] = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise InvalidInputError("every tensor in inputs must be an object with a name")
        if tensor["name"] in given:
            raise InvalidInputError(f"input {tensor['name']!r} is given twice; send it once")
        given[tensor["name"]] = tensor
    wanted = {tensor.name for tensor in spec.inputs}
    if set(given) != wanted:
        raise InvalidInputError(f"{spec.name} takes the inputs {sorted(wanted)}, got {sorted(given)}")
    tensors = {tensor.name: _decode(given[tensor.name], tensor) for tensor in spec.inputs}
    rows = {len(values) for values in tensors.values()}
    if len(rows) != 1:
        raise InvalidInputError(f"all inputs must have the same number of rows, got {sorted(rows)}")
    return tensors


def _decode(tensor: dict[str, Any], spec: TensorSpec) -> npt.NDArray[np.generic]:
    name = spec.name
    if tensor.get("datatype") != spec.datatype:
        raise InvalidInputError(
            f"input {name!r} must have datatype {spec.datatype}, got {tensor.get('datatype')!r}"
        )
    shape = tensor.get("shape")
    if not _fits(shape, spec.shape):
        raise InvalidInputError(
            f"input {name!r} must have shape {list(spec.shape)} (-1 is free), got {shape!r}"
        )
    assert isinstance(shape, list)
    if not 1 <= shape[0] <= ROWS_MAX:
        raise InvalidInputError(
            f"input {name!r} must have 1 to {ROWS_MAX} rows, got {shape[0]}; split the request"
        )
    try:
        values = np.asarray(tensor.get("data"), dtype=_DTYPES[spec.datatype])
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"input {name!r}: data must hold {spec.datatype} numbers ({error})") from None
    size = int(np.prod(shape))
    if values.size != size:
        raise InvalidInputError(f"input {name!r}: shape {shape} needs {size} numbers, got {values.size}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InvalidInputError(f"input {name!r}: numbers must be finite, got NaN or infinity")
    return values.reshape(shape)


def _fits(shape: Any, wanted: tuple[int, ...]) -> bool:
    if not isinstance(shape, list) or len(shape) != len(wanted):
        return False
    return all(
        type(size) is int and size >= 0 and free in {-1, size}
        for size, free in zip(shape, wanted, strict=True)
    )


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def encode_outputs(spec: ModelSpec, outputs: Tensors, request_id: Any) -> dict[str, Any]:
    """Return the response object; data is flattened in row-major order, as numpy for orjson."""
    result: dict[str, Any] = {"model_name": spec.name, "model_version": spec.version}
    if isinstance(request_id, str):
        result["id"] = request_id
    result["outputs"] = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(outputs[tensor.name].shape),
            "data": np.ascontiguousarray(outputs[tensor.name]).ravel(),
        }
        for tensor in spec.outputs
    ]
    return result
