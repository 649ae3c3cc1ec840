"""ONNX Runtime: the example of its page on a real session. PyTorch's hooks on a stand-in; on the real thing: test_torch.py."""

import importlib.util
import math
import time

import ninesight
import pytest
from ninesight.testing import histogram, isolated, number, total

from ... import needs

np = needs.package("numpy")

ROWS = [1, 2, 5] * 20


@pytest.fixture
def app(example):
    """`app("onnxruntime.md")` imports the example of a page."""

    def load(page):
        spec = importlib.util.spec_from_file_location("app", example(page) / "app.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def model_file(tmp_path):
    """A real ONNX model: y = x W."""
    onnx = needs.package("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((4, 2), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_an_onnx_session_counts_its_runs(sdk_isolated, app, model_file):
    """Alone a run is a call; inside a call it is a stage; results and exceptions pass."""
    needs.package("onnxruntime")
    module = app("onnxruntime.md")
    session = module.load(str(model_file))
    took = []
    for rows in ROWS:
        start = time.perf_counter()
        assert module.rank(session, np.ones((rows, 4), np.float32)).shape == (rows, 2)
        took.append(time.perf_counter() - start)
    assert len(module.search(session, [[1, 2, 3, 4]] * 3)) == 3
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        session.run(None, {"x": np.ones((1, 3), np.float32)})
    snapshot = sdk_isolated()
    labels = {"model": "ranker", "version": "3"}
    assert total(snapshot, "model_requests_total", model="ranker", outcome="ok") == len(ROWS)
    assert total(snapshot, "model_requests_total", model="ranker", outcome="error") == 1
    assert number(snapshot, "model_predictions_total", **labels) == sum(ROWS)
    durations = histogram(snapshot, "model_request_duration_seconds", **labels)
    for q in (0.5, 0.9):
        # Each run is within its caller's time. The failed one is counted too: one more lowers what has a rank.
        low, high = durations.quantile_bounds(q)
        waited = sorted(took)[min(len(took), math.ceil(q * (len(took) + 1))) - 1]
        assert 0 < low <= waited, (q, low, high, waited)
    assert number(snapshot, "model_loaded", **labels) == 1
    assert number(snapshot, "model_load_duration_seconds", **labels) > 0
    assert total(snapshot, "model_requests_total", model="search", outcome="ok") == 1
    assert number(snapshot, "model_predictions_total", model="search", version="1") == 3
    stage = histogram(
        snapshot, "model_stage_duration_seconds", model="search", version="1", stage="inference"
    )
    assert stage.count == 1
    seconds = total(snapshot, "model_accelerator_seconds_total", gpu="cpu", basis="wall")
    assert 0 < seconds <= sum(took) + 5
    assert session.get_inputs()[0].name == "x"


@pytest.fixture
def sdk_isolated():
    """A fresh SDK for the runtime's test."""
    with isolated() as snapshot:
        yield snapshot


class StandInModule:
    """The face of a torch module that the hooks use: hooks before and after, parameters with a device."""

    def __init__(self, device_type="cpu"):
        self._before, self._after = [], []
        device = type("Device", (), {"type": device_type, "index": 1})()
        self._parameters = [type("Parameter", (), {"device": device})()]

    def register_forward_pre_hook(self, hook):
        return self._keep(self._before, hook)

    def register_forward_hook(self, hook, *, always_call):
        assert always_call
        return self._keep(self._after, hook)

    def _keep(self, hooks, hook):
        hooks.append(hook)
        return type("Handle", (), {"remove": lambda _: hooks.remove(hook)})()

    def parameters(self):
        return iter(self._parameters)

    def __call__(self, output):
        for hook in self._before:
            hook(self, ())
        result = output() if callable(output) else output
        for hook in self._after:
            hook(self, (), result)
        return result


@pytest.mark.parametrize(("device", "gpu"), [("cpu", "cpu"), ("cuda", "1")])
def test_hooks_follow_nested_and_failing_passes(sdk_isolated, device, gpu):
    """A module inside another; a pass that raised, as PyTorch tells it: the hook gets None."""
    from ninesight.integrations.torch import observe_module

    outer, inner = StandInModule(device), StandInModule(device)
    hooks = [observe_module(outer, model="outer"), observe_module(inner, model="inner")]
    outer(lambda: inner(np.ones((3, 2))))
    inner((np.ones((2, 2)), "aux"))
    inner(None)
    for hook in hooks:
        hook.remove()
    outer(np.ones((9, 1)))
    snapshot = sdk_isolated()
    assert number(snapshot, "model_predictions_total", model="outer", version="1") == 3
    assert number(snapshot, "model_predictions_total", model="inner", version="1") == 2
    assert total(snapshot, "model_requests_total", model="inner", outcome="error") == 1
    stage = histogram(snapshot, "model_stage_duration_seconds", model="outer", version="1", stage="inference")
    assert stage.count == 1
    assert total(snapshot, "model_accelerator_seconds_total", gpu=gpu, basis="wall") > 0
    assert ninesight.current().finished
