"""Instrument a model server: one decorator, and every series it owes its operators.

    import ninesight

    @ninesight.observe(model="sentiment", version="3")
    def predict(text): ...

Recording never raises into, blocks or locks a request; aggregation and export happen on threads
of their own that start with the first call.
"""

from ninesight.api import (
    accelerator,
    call,
    collector,
    configure,
    counter,
    current,
    export_to,
    flush,
    gauge,
    histogram,
    metrics_app,
    metrics_wsgi_app,
    model,
    observe,
    serve_metrics,
    shutdown,
    snapshot,
    stage,
    stats,
)
from ninesight.batches import Execution
from ninesight.calls import Call
from ninesight.chunks import openai_usage
from ninesight.contract import Exporter, Outcome, ServedBy, Snapshot, Stats
from ninesight.errors import ConfigError, NinesightError
from ninesight.models import ModelHandle
from ninesight.own import CounterMetric, GaugeMetric, HistogramMetric
from ninesight.stages import Stage

__all__ = [
    "Call",
    "ConfigError",
    "CounterMetric",
    "Execution",
    "Exporter",
    "GaugeMetric",
    "HistogramMetric",
    "ModelHandle",
    "NinesightError",
    "Outcome",
    "ServedBy",
    "Snapshot",
    "Stage",
    "Stats",
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
    "openai_usage",
    "serve_metrics",
    "shutdown",
    "snapshot",
    "stage",
    "stats",
]
