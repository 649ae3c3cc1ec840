"""The two ONNX models: real graphs, answered rightly, of different weight."""

import numpy as np
import pytest
from ninesight_server.errors import InferenceError
from ninesight_server.onnx_backend import OnnxMlpBackend, reference_models
from ninesight_server.onnx_mlp import MlpShape, mlp_reference, mlp_weights

SMALL = MlpShape((8, 16, 4), seed=3)


def test_onnx_runtime_agrees_with_numpy():
    """The session's answer equals the network computed with numpy, row by row."""
    backend = OnnxMlpBackend("small", SMALL)
    backend.load()
    rows = np.random.default_rng(4).standard_normal((32, 8), dtype=np.float32)
    found = backend.run({"x": rows})["probabilities"]
    np.testing.assert_allclose(found, mlp_reference(mlp_weights(SMALL), rows), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_batching_changes_no_answer():
    """A row is answered the same alone and among others."""
    backend = OnnxMlpBackend("small", SMALL)
    backend.load()
    rows = np.random.default_rng(5).standard_normal((16, 8), dtype=np.float32)
    together = backend.run({"x": rows})["probabilities"]
    alone = np.concatenate([backend.run({"x": rows[i : i + 1]})["probabilities"] for i in range(16)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_model_that_is_not_loaded_refuses():
    """Run before load, or after unload, is an error and no crash."""
    backend = OnnxMlpBackend("small", SMALL)
    with pytest.raises(InferenceError, match="not loaded"):
        backend.run({"x": np.zeros((1, 8), np.float32)})


def test_the_reference_models_have_their_faces():
    """One light and one heavy model, described as the protocol asks."""
    light, heavy = reference_models(accelerator="0")
    assert (light.spec.name, light.spec.inputs[0].shape) == ("digits-light", (-1, 64))
    assert (heavy.spec.name, heavy.spec.outputs[0].shape) == ("ranker-heavy", (-1, 16))
    assert light.device == "0"
