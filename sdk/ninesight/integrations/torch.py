"""Hooks on a PyTorch module: each forward pass timed, by CUDA events where it runs on a GPU.

    observed = observe_module(module, model="ranker", version="3")
    ...
    observed.remove()

Inside a running call a forward pass is that call's stage `inference`; outside it is a call of its own,
with the first dimension of its output as predictions. The module itself is not changed: it is saved,
scripted for training and moved as before.
"""

from __future__ import annotations

import threading
from typing import Any

from ninesight.api import accelerator, call, current
from ninesight.api import model as handle_of
from ninesight.batches import Accelerator
from ninesight.calls import Call
from ninesight.stages import Stage

__all__ = ["ObservedModule", "observe_module"]


class ObservedModule:
    """The hooks of one module. `remove` takes them off again."""

    def __init__(self, module: Any, *, model: str, version: str = "1") -> None:
        self._model = model
        self._version = version
        self._local = threading.local()
        self._hooks = (
            module.register_forward_pre_hook(self._before),
            # always_call: the hook runs when the forward pass raises, too.
            module.register_forward_hook(self._after, always_call=True),
        )
        handle = handle_of(model, version)
        handle.info(framework="pytorch")
        handle.loaded()

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, module: Any, inputs: Any) -> None:
        running = current()
        own: Call | None = None
        stage: Stage | None = None
        if running.finished:
            own = call(self._model, self._version)
            own.begin()
        else:
            stage = running.stage("inference")
            stage.__enter__()
        timed = accelerator(_gpu_of(module))
        timed.__enter__()
        stack: list[tuple[Call | None, Stage | None, Accelerator]] = self._local.__dict__.setdefault(
            "stack", []
        )
        stack.append((own, stage, timed))

    def _after(self, module: Any, inputs: Any, output: Any) -> None:
        stack = self._local.__dict__.get("stack")
        if not stack:
            return
        own, stage, timed = stack.pop()
        timed.__exit__(None, None, None)
        if stage is not None:
            stage.__exit__(None, None, None)
        if own is not None:
            if output is None:
                # PyTorch hands None to the hook of a pass that raised.
                own.outcome("error")
            else:
                own.predictions(_rows(output))
            own.end()


def observe_module(module: Any, *, model: str, version: str = "1") -> ObservedModule:
    """Observe each forward pass of a `torch.nn.Module`."""
    return ObservedModule(module, model=model, version=version)


def _gpu_of(module: Any) -> str | None:
    """Return the index of the device of the first parameter; "cpu" there; None for a module without any."""
    parameter = next(iter(module.parameters()), None)
    if parameter is None:
        return None
    device = parameter.device
    if device.type != "cuda":
        return str(device.type)
    return str(device.index or 0)


def _rows(output: Any) -> int:
    """Return the length of the batch: the first dimension of the output, of a tuple's first."""
    first = next(iter(output), None) if isinstance(output, tuple | list) else output
    shape: tuple[int, ...] = tuple(getattr(first, "shape", ()))
    return shape[0] if shape else 1
