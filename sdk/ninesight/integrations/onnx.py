"""A wrapper around an ONNX Runtime session: each run counted, timed, and its accelerator charged.

    session = ObservedSession(onnxruntime.InferenceSession("ranker.onnx"), model="ranker", version="3")

Inside a running call a run is that call's stage `inference`; outside it is a call of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ninesight.api import accelerator, call, current
from ninesight.api import model as handle_of

__all__ = ["ObservedSession"]


class ObservedSession:
    """Behaves as the session it wraps; `run` is observed. Safe from many threads, as the session is."""

    def __init__(self, session: Any, *, model: str, version: str = "1") -> None:
        self._session = session
        self._model = model
        self._version = version
        providers = list(session.get_providers())
        self._gpu = "cpu" if providers[:1] == ["CPUExecutionProvider"] else "0"
        handle = handle_of(model, version)
        handle.info(framework="onnx", provider=providers[0] if providers else "none")
        handle.loaded()

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> Any:
        """Run the session; arguments, results and exceptions as `InferenceSession.run`."""
        running = current()
        if not running.finished:
            with running.stage("inference"), accelerator(self._gpu):
                return self._session.run(output_names, input_feed, run_options)
        with call(self._model, self._version) as own, accelerator(self._gpu):
            outputs = self._session.run(output_names, input_feed, run_options)
            own.predictions(_rows(outputs))
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def _rows(outputs: Any) -> int:
    """Return the length of the batch: the first dimension of the first output; 1 for a scalar."""
    shape = getattr(outputs[0], "shape", ()) if outputs else ()
    return int(shape[0]) if shape else 1
