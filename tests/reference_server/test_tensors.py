"""Tensors of the Open Inference Protocol: what is refused, and in which words."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_server.contract import ModelSpec, TensorSpec
from ninesight_server.errors import InvalidInputError
from ninesight_server.tensors import ROWS_MAX, decode_inputs, encode_outputs

SPEC = ModelSpec("m", "1", "test", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))


def tensor(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0], **changes}


def request(**changes):
    return {"inputs": [tensor(**changes)]}


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2), min_size=1, max_size=20))
def test_what_is_sent_is_what_the_model_gets(rows):
    """Decoding gives the numbers of the request, row by row; nested and flat data are the same."""
    for data in (rows, [value for row in rows for value in row]):
        decoded = decode_inputs(request(shape=[len(rows), 2], data=data), SPEC)
        np.testing.assert_array_equal(decoded["x"], np.array(rows, np.float32))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the request must be a JSON object with inputs, got list"),
        ({}, "inputs must be a list of tensors, got nothing"),
        ({"inputs": [1]}, "every tensor in inputs must be an object with a name"),
        ({"inputs": [tensor(), tensor()]}, "input 'x' is given twice; send it once"),
        ({"inputs": [tensor(name="z")]}, "m takes the inputs ['x'], got ['z']"),
        (request(datatype="INT8"), "input 'x' must have datatype FP32, got 'INT8'"),
        (request(shape=[1, 3]), "input 'x' must have shape [-1, 2] (-1 is free), got [1, 3]"),
        (request(shape=[True, 2]), "must have shape"),
        (request(shape=[-1, 2]), "must have shape"),
        (request(shape=[0, 2], data=[]), f"input 'x' must have 1 to {ROWS_MAX} rows, got 0"),
        (request(shape=[ROWS_MAX + 1, 2]), f"got {ROWS_MAX + 1}; split the request"),
        (request(data=[1.0]), "input 'x': shape [1, 2] needs 2 numbers, got 1"),
        (request(data=["a", "b"]), "input 'x': data must hold FP32 numbers"),
        (request(data=None), "input 'x'"),
        (request(data=[1.0, 1e999]), "input 'x': numbers must be finite, got NaN or infinity"),
    ],
)
def test_a_wrong_request_is_refused_in_plain_words(body, words):
    """Every refusal names the tensor, what must hold and what was given."""
    with pytest.raises(InvalidInputError) as caught:
        decode_inputs(body, SPEC)
    assert words in str(caught.value)
    assert caught.value.status == 400


def test_the_answer_has_the_protocols_shape():
    """Outputs are flattened in row-major order, with name, datatype, shape and the request's id."""
    answer = encode_outputs(SPEC, {"y": np.array([[1, 2], [3, 4]], np.float32)}, "abc")
    assert orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)) == {
        "model_name": "m",
        "model_version": "1",
        "id": "abc",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}],
    }
