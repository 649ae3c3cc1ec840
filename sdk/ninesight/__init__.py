"""Instrument a model server: one decorator, and every series it owes its operators.

    import ninesight

    @ninesight.observe(model="sentiment", version="3")
    def predict(text): ...

Recording never raises into, blocks or locks a request; aggregation and export happen on threads
of their own that start with the first call.
"""

from ninesight.api import (
    call,
    collector,
    configure,
    current,
    export_to,
    flush,
    metrics_app,
    model,
    observe,
    shutdown,
    stage,
    stats,
)
from ninesight.calls import Call, Stage
from ninesight.contract import Exporter, Outcome, ServedBy, Snapshot, Stats
from ninesight.errors import ConfigError, NinesightError
from ninesight.models import ModelHandle

__all__ = [
    "Call",
    "ConfigError",
    "Exporter",
    "ModelHandle",
    "NinesightError",
    "Outcome",
    "ServedBy",
    "Snapshot",
    "Stage",
    "Stats",
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
