"""From an engine's answer to what a rule needs: rows, alert samples, recorded samples.

Prometheus' rules hold: a scalar counts as one element without labels, a range or a text is an
error, and two elements that end up with the same labels are an error too.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ninesight_query.contract import Answer, Engine, Labels, Scalar, Vector
from ninesight_query.histogram import Histogram

from ninesight_alerts.contract import AlertState, RecordedSample
from ninesight_alerts.errors import EvaluationError
from ninesight_alerts.rules import Rule
from ninesight_alerts.step import ActiveAlert, AlertSample
from ninesight_alerts.template import TemplateData, expand

__all__ = ["Row", "Surroundings", "alert_samples", "alert_series", "recorded_samples", "rows", "stale"]

ROWS_MAX = 10_000
"""A rule may give this many elements; more is an error of the rule."""

STALE_NAN: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""Prometheus' stale marker; compare its bits, never with `==`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One element of an instant vector."""

    labels: Labels
    value: float
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Surroundings:
    """What templates may know beside their element."""

    external_labels: dict[str, str] = field(default_factory=dict)
    external_url: str = ""


def rows(answer: Answer) -> tuple[Row, ...]:
    """Return the elements of an answer. Raises EvaluationError for what is no vector, or too much."""
    value = answer.value
    if isinstance(value, Scalar):
        return (Row((), value.value),)
    if not isinstance(value, Vector):
        raise EvaluationError(
            f"a rule's expr must give a vector or a scalar, got {type(value).__name__.lower()}"
        )
    if len(value.labels) > ROWS_MAX:
        raise EvaluationError(
            f"a rule may give at most {ROWS_MAX} elements, got {len(value.labels)}; narrow expr"
        )
    return tuple(
        Row(labels, 0.0 if at in value.histograms else float(value.values[at]), value.histograms.get(at))
        for at, labels in enumerate(value.labels)
    )


def alert_samples(
    rule: Rule, found: Sequence[Row], engine: Engine, at_ms: int, around: Surroundings
) -> tuple[AlertSample, ...]:
    """Return one sample an element, labels and annotations expanded. Raises EvaluationError for twins."""
    samples: dict[Labels, AlertSample] = {}
    for row in found:
        data = TemplateData(
            dict(row.labels),
            row.value,
            around.external_labels,
            around.external_url,
            lambda query: [(item.labels, item.value) for item in rows(engine.instant(query, at_ms))],
        )
        labels = _merged(row.labels, rule, {name: expand(text, data) for name, text in rule.labels.items()})
        if labels in samples:
            raise EvaluationError(_TWINS.format(labels=dict(labels)))
        annotations = tuple(sorted((name, expand(text, data)) for name, text in rule.annotations.items()))
        samples[labels] = AlertSample(labels, row.value, annotations)
    return tuple(samples.values())


def recorded_samples(rule: Rule, found: Sequence[Row], at_ms: int) -> tuple[RecordedSample, ...]:
    """Return what a recording rule writes. Raises EvaluationError for twins."""
    samples: dict[Labels, RecordedSample] = {}
    for row in found:
        labels = _merged(row.labels, rule, rule.labels)
        if labels in samples:
            raise EvaluationError(_TWINS.format(labels=dict(labels)))
        samples[labels] = RecordedSample(labels, at_ms, row.value, row.histogram)
    return tuple(samples.values())


_TWINS = "the elements of a rule must differ in labels once the rule's labels are applied, got twice {labels}"


def _merged(labels: Labels, rule: Rule, added: Mapping[str, str]) -> Labels:
    pairs = dict(labels)
    pairs.pop("__name__", None)
    pairs.update(added)
    pairs["__name__" if rule.kind == "recording" else "alertname"] = rule.name
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


def alert_series(alerts: Sequence[ActiveAlert], at_ms: int) -> tuple[RecordedSample, ...]:
    """Return ALERTS (1) and ALERTS_FOR_STATE (since when, in seconds) of the pending and firing alerts."""
    samples = []
    for alert in alerts:
        if alert.state is not AlertState.RESOLVED:
            pairs = dict(alert.labels)
            state = {**pairs, "__name__": "ALERTS", "alertstate": alert.state.value}
            since = {**pairs, "__name__": "ALERTS_FOR_STATE"}
            samples.append(RecordedSample(tuple(sorted(state.items())), at_ms, 1.0))
            samples.append(
                RecordedSample(tuple(sorted(since.items())), at_ms, float(alert.active_since_ms // 1000))
            )
    return tuple(samples)


def stale(
    before: Sequence[Labels], written: Sequence[RecordedSample], at_ms: int
) -> tuple[RecordedSample, ...]:
    """Return a stale marker for each series written before and not now."""
    now = {sample.labels for sample in written}
    return tuple(RecordedSample(labels, at_ms, STALE_NAN) for labels in before if labels not in now)
