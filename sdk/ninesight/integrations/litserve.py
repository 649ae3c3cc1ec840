"""LitServe: a callback for its workers, and the ASGI middleware for its server.

    server = ls.LitServer(
        api,
        callbacks=[ObserveLitServe(model="sentiment")],
        middlewares=[(ObserveASGI, {"model": "sentiment", "paths": ("/predict",)})],
    )

Requests are counted and timed where they come in, by the middleware; the workers, processes of their
own, add the stages (preprocess, inference, postprocess) and the accelerator's time. Set
NINESIGHT_MULTIPROCESS_DIR, so that /metrics has both.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from litserve import Callback

from ninesight.api import call
from ninesight.api import model as handle_of
from ninesight.batches import Execution

__all__ = ["ObserveLitServe"]

# Of the module: LitServe pickles its callbacks on the way to a worker.
_began_s: ContextVar[dict[str, float] | None] = ContextVar("ninesight_litserve", default=None)
_execution: ContextVar[Execution | None] = ContextVar("ninesight_litserve_run", default=None)


class ObserveLitServe(Callback):  # type: ignore[misc] # LitServe's classes are untyped to strict mypy.
    """Times the moments of LitServe's loops, batched or not. A step that raised is not in them: LitServe tells no end."""

    def __init__(self, *, model: str, version: str = "1") -> None:
        self._model = model
        self._version = version

    def on_before_setup(self, *args: Any, **kwargs: Any) -> None:
        """Begin to time the load."""
        self._begin("setup")

    def on_after_setup(self, *args: Any, **kwargs: Any) -> None:
        """Tell the load, and that the model is there."""
        handle = handle_of(self._model, self._version)
        handle.load_duration(self._since("setup"))
        handle.loaded()
        handle.info(framework="litserve")

    def on_before_decode_request(self, *args: Any, **kwargs: Any) -> None:
        """Begin the stage preprocess."""
        self._begin("preprocess")

    def on_after_decode_request(self, *args: Any, **kwargs: Any) -> None:
        """End the stage preprocess."""
        self._stage("preprocess")

    def on_before_predict(self, *args: Any, **kwargs: Any) -> None:
        """Begin the run on the device."""
        self._begin("inference")
        execution = handle_of(self._model, self._version).execution(size=0)
        execution.__enter__()
        _execution.set(execution)

    def on_after_predict(self, *args: Any, **kwargs: Any) -> None:
        """End the run: its time as a stage, and as the accelerator's."""
        execution = _execution.get()
        if execution is not None:
            execution.__exit__(None, None, None)
            _execution.set(None)
        self._stage("inference")

    def on_before_encode_response(self, *args: Any, **kwargs: Any) -> None:
        """Begin the stage postprocess."""
        self._begin("postprocess")

    def on_after_encode_response(self, *args: Any, **kwargs: Any) -> None:
        """End the stage postprocess."""
        self._stage("postprocess")

    def _begin(self, what: str) -> None:
        _began_s.set({**(_began_s.get() or {}), what: perf_counter()})

    def _since(self, what: str) -> float:
        began_s = (_began_s.get() or {}).get(what)
        return 0.0 if began_s is None else perf_counter() - began_s

    def _stage(self, what: str) -> None:
        call(self._model, self._version).add_stage(what, self._since(what))
