"""The public functions, bound to the one runtime of the process."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ninesight.batches import Accelerator
from ninesight.calls import Call, NoCall, running_call, running_series
from ninesight.config import DURATION_BOUNDS, bounds_of
from ninesight.contract import Exporter, Snapshot, Stats
from ninesight.forks import on_fork
from ninesight.judge import Judge
from ninesight.models import ModelHandle
from ninesight.observe import instrument
from ninesight.own import CounterMetric, GaugeMetric, HistogramMetric
from ninesight.runtime import Runtime
from ninesight.stages import Stage, stage_of
from ninesight.targets import Target, Told, check_told

if TYPE_CHECKING:
    from ninesight.asgi import MetricsApp
    from ninesight.exposition import NinesightCollector
    from ninesight.port import MetricsServer
    from ninesight.wsgi import MetricsWsgiApp

__all__ = [
    "accelerator",
    "call",
    "collector",
    "configure",
    "counter",
    "current",
    "export_to",
    "flush",
    "gauge",
    "histogram",
    "metrics_app",
    "metrics_wsgi_app",
    "model",
    "observe",
    "serve_metrics",
    "shutdown",
    "snapshot",
    "stage",
    "stats",
]

F = TypeVar("F", bound=Callable[..., Any])

RUNTIME = Runtime()

# At import, not at the first call: a fork may come while another thread is amid that first call.
on_fork(RUNTIME.after_fork)

_NO_CALL = NoCall()
_BUFFERS = RUNTIME.buffers
_FLIGHTS = RUNTIME.flights


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
    model: Told | None = None,
    version: Told = "1",
    labels: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,
    predictions: int | Callable[[Any], int] | None = None,
    tokens: Callable[[Any], Any] | None = None,
    outcome: Callable[[Any, BaseException | None], str | None] | None = None,
    outcomes: Mapping[type[BaseException], str] | None = None,
) -> Callable[[F], F]: ...
def observe(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    model: Told | None = None,
    version: Told = "1",
    labels: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,
    predictions: int | Callable[[Any], int] | None = None,
    tokens: Callable[[Any], Any] | None = None,
    outcome: Callable[[Any, BaseException | None], str | None] | None = None,
    outcomes: Mapping[type[BaseException], str] | None = None,
) -> Any:
    """Record each call of a function, coroutine function or (async) generator function.

    `model` (default: the function's name), `version` and each of `labels` are fixed, or functions of
    the call's arguments. `predictions` of an ok call: a number (default 1) or a function of the
    result. `tokens`: a function of the result, or of each yielded item, that returns a number of
    output tokens or {input, output, cached}. `outcome(result, exception)` may return an outcome, or
    None for the usual one; `outcomes` maps exception classes. Results and exceptions pass through.
    """
    check_told("model", model)
    check_told("version", version)
    judge = Judge(RUNTIME.faults, predictions=predictions, outcome=outcome, outcomes=outcomes, tokens=tokens)

    def decorate(decorated: Callable[..., Any]) -> Callable[..., Any]:
        if not RUNTIME.enabled:
            return decorated
        name = str(getattr(decorated, "__name__", type(decorated).__name__))
        target = Target(
            RUNTIME.registry,
            RUNTIME.buffers,
            model=name if model is None else model,
            version=version,
            labels=labels,
            each=judge.each,
            name=name,
        )
        return instrument(decorated, target, judge)

    return decorate if fn is None else decorate(fn)


def call(
    model: str, version: str = "1", labels: Mapping[str, object] | None = None, traceparent: str = ""
) -> Call:
    """Return a call to enter with `with`: the same record, under explicit control.

    `traceparent` is the W3C header of the request, if it came with one: its trace is continued.
    """
    if traceparent:
        traced = call(model, version, labels)
        traced.continue_trace(traceparent)
        return traced
    return Call(RUNTIME.series(model, version, tuple(labels.items()) if labels else ()))


def stage(name: str) -> Stage:
    """Return a context manager that times a stage of the running call; outside a call it records nothing."""
    if _BUFFERS.keeper is not None:
        # The call that runs now must be an object: its trace has its stages as children.
        call = running_call(_BUFFERS)
        return stage_of(name, None if call is None else call.series, call)
    # What `running_series` and `stage_of` do, without their frames: a stage costs little more than its frames.
    mark = _FLIGHTS.get()
    stage = Stage()
    stage.name = name
    stage.duration_s = stage.call = stage.series = None
    latest = -1.0
    if mark is not None:
        entry = _FLIGHTS.started.get(id(mark))
        if entry is None or _FLIGHTS.asked:
            stage.series = running_series(_BUFFERS)
            return stage
        stage.series = entry[0].series
        latest = entry[1]
    if not _BUFFERS.slots_of:
        return stage
    for slot in _BUFFERS.slots_of.get(get_ident(), ()):
        start = slot.start
        if start is not None and latest <= start:
            latest = start
            stage.series = slot.point.series
    return stage


def current() -> Call:
    """Return the innermost running call, or one that takes everything and records nothing."""
    return running_call(RUNTIME.buffers) or _NO_CALL


def accelerator(gpu: object = None) -> Accelerator:
    """Return a context manager that times accelerator work of the running call, by CUDA events where there are any."""
    return Accelerator(running_series(RUNTIME.buffers), gpu)


def model(model: str, version: str = "1", labels: Mapping[str, object] | None = None) -> ModelHandle:
    """Return the handle of a model version."""
    return ModelHandle(RUNTIME.series(model, version, tuple(labels.items()) if labels else ()))


def counter(name: str, description: str, *, unit: str = "", labels: Sequence[str] = ()) -> CounterMetric:
    """Return a counter of your own; `name` ends in _total. Raises ConfigError for a name or label that cannot be."""
    return RUNTIME.own.counter(name, description, unit, labels)


def gauge(
    name: str, description: str, *, unit: str = "", labels: Sequence[str] = (), across: str = "sum"
) -> GaugeMetric:
    """Return a gauge of your own; `across` says how several processes' values become one: sum, max or min."""
    return RUNTIME.own.gauge(name, description, unit, labels, across)


def histogram(
    name: str,
    description: str,
    *,
    unit: str = "",
    labels: Sequence[str] = (),
    buckets: Sequence[float] = DURATION_BOUNDS,
) -> HistogramMetric:
    """Return a histogram of your own; `buckets` are classic upper bounds kept beside the exponential ones."""
    return RUNTIME.own.histogram(name, description, unit, labels, bounds_of(buckets))


def collector() -> NinesightCollector:
    """Return a collector for `prometheus_client`: `REGISTRY.register(ninesight.collector())`."""
    from ninesight.exposition import NinesightCollector

    return NinesightCollector(RUNTIME.snapshot)


def metrics_app() -> MetricsApp:
    """Return an ASGI app that answers a scrape: text, OpenMetrics, or protobuf with native histograms."""
    from ninesight.asgi import MetricsApp

    return MetricsApp(RUNTIME.snapshot)


def metrics_wsgi_app() -> MetricsWsgiApp:
    """Return a WSGI app that answers a scrape as `metrics_app` does."""
    from ninesight.wsgi import MetricsWsgiApp

    return MetricsWsgiApp(RUNTIME.snapshot)


def serve_metrics(port: int = 9464, host: str = "127.0.0.1") -> MetricsServer:
    """Answer scrapes on a port of our own, from a daemon thread; `close()` ends it. Raises OSError for a taken port."""
    from ninesight.port import MetricsServer

    return MetricsServer(metrics_wsgi_app(), host, port)


def export_to(exporter: Exporter) -> None:
    """Hand snapshots to an exporter of your own instead of OTLP, every `export_interval_s`."""
    RUNTIME.export_to(exporter)


def flush(timeout_s: float = 5.0) -> bool:
    """Bring everything recorded so far into the totals and out; False if an export failed or took too long."""
    return RUNTIME.flush(timeout_s)


def shutdown(timeout_s: float = 2.0) -> None:
    """Flush and stop; nothing is recorded until `configure`. Runs by itself when Python exits."""
    RUNTIME.shutdown(timeout_s)


def snapshot() -> Snapshot:
    """Return everything known now: of this process, or of all workers that share `multiprocess_dir`.

    Raises RetryableError where that folder cannot be read.
    """
    return RUNTIME.snapshot()


def stats() -> Stats:
    """Return what the SDK knows of itself: recorded, dropped, failed, waiting, and stated error bounds."""
    return RUNTIME.stats()
