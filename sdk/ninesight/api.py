"""The public functions, bound to the one runtime of the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ninesight.calls import Call, NoCall, Stage, running_call, running_series
from ninesight.contract import Exporter, Stats
from ninesight.judge import Judge
from ninesight.models import ModelHandle
from ninesight.observe import instrument
from ninesight.runtime import Runtime

if TYPE_CHECKING:
    from ninesight.asgi import MetricsApp
    from ninesight.exposition import NinesightCollector

__all__ = [
    "call",
    "collector",
    "configure",
    "current",
    "export_to",
    "flush",
    "metrics_app",
    "model",
    "observe",
    "shutdown",
    "stage",
    "stats",
]

F = TypeVar("F", bound=Callable[..., Any])

RUNTIME = Runtime()

_NO_CALL = NoCall()


def configure(
    *,
    service_name: str | None = None,
    instance: str | None = None,
    otlp_endpoint: str | None = None,
    otlp_headers: Mapping[str, str] | None = None,
    export_interval_s: float | None = None,
    buckets: Sequence[float] | None = None,
    enabled: bool | None = None,
    **more: Any,
) -> None:
    """Set what is given (see `SdkConfig`), keep the rest, start running. Everything is optional.

    Raises ConfigError in plain words, and changes nothing then. May be called again; `buckets` only
    before the first recorded call.
    """
    RUNTIME.configure(
        service_name=service_name,
        instance=instance,
        otlp_endpoint=otlp_endpoint,
        otlp_headers=otlp_headers,
        export_interval_s=export_interval_s,
        buckets=buckets,
        enabled=enabled,
        **more,
    )


@overload
def observe(fn: F, /) -> F: ...
@overload
def observe(
    *,
    model: str | None = None,
    version: str = "1",
    predictions: int | Callable[[Any], int] | None = None,
    outcome: Callable[[Any, BaseException | None], str | None] | None = None,
) -> Callable[[F], F]: ...
def observe(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    model: str | None = None,
    version: str = "1",
    predictions: int | Callable[[Any], int] | None = None,
    outcome: Callable[[Any, BaseException | None], str | None] | None = None,
) -> Any:
    """Record each call of a function, coroutine function or (async) generator function.

    `model` defaults to the function's name. `predictions` of an ok call: a number (default 1) or a
    function of the result. `outcome(result, exception)` may return an outcome, or None for the usual
    one. Results and exceptions pass through unchanged.
    """
    judge = Judge(predictions, outcome, RUNTIME.faults)

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        if not RUNTIME.enabled:
            return target
        name = model or str(getattr(target, "__name__", type(target).__name__))
        point = RUNTIME.buffers.point(RUNTIME.series(name, version), judge.each)
        return instrument(target, point, judge)

    return decorate if fn is None else decorate(fn)


def call(model: str, version: str = "1") -> Call:
    """Return a call to enter with `with`: the same record, under explicit control."""
    return Call(RUNTIME.series(model, version))


def stage(name: str) -> Stage:
    """Return a context manager that times a stage of the running call; outside a call it records nothing."""
    return Stage(name, running_series(RUNTIME.buffers))


def current() -> Call:
    """Return the innermost running call, or one that takes everything and records nothing."""
    return running_call(RUNTIME.buffers) or _NO_CALL


def model(model: str, version: str = "1") -> ModelHandle:
    """Return the handle of a model version."""
    return ModelHandle(RUNTIME.series(model, version))


def collector() -> NinesightCollector:
    """Return a collector for `prometheus_client`: `REGISTRY.register(ninesight.collector())`."""
    from ninesight.exposition import NinesightCollector

    return NinesightCollector(RUNTIME.snapshot)


def metrics_app() -> MetricsApp:
    """Return an ASGI app that answers a scrape: text, OpenMetrics, or protobuf with native histograms."""
    from ninesight.asgi import MetricsApp

    return MetricsApp(RUNTIME.snapshot)


def export_to(exporter: Exporter) -> None:
    """Hand snapshots to an exporter of your own instead of OTLP, every `export_interval_s`."""
    RUNTIME.export_to(exporter)


def flush(timeout_s: float = 5.0) -> bool:
    """Bring everything recorded so far into the totals and out; False if an export failed or took too long."""
    return RUNTIME.flush(timeout_s)


def shutdown(timeout_s: float = 2.0) -> None:
    """Flush and stop; nothing is recorded until `configure`. Runs by itself when Python exits."""
    RUNTIME.shutdown(timeout_s)


def stats() -> Stats:
    """Return what the SDK knows of itself: recorded, dropped, failed, waiting, and stated error bounds."""
    return RUNTIME.stats()
