"""OpenTelemetry's names for language models, beside ours: `gen_ai.server.*` (semantic conventions, Development).

They apply to models that count tokens. The operation and the provider are what `model(...).info` was
told as `gen_ai_operation` and `gen_ai_provider`; the conventions require both.
"""

from __future__ import annotations

from ninesight.contract import Family, HistogramPoint, Kind, Labels, Snapshot

__all__ = ["gen_ai_families"]

_NAMES = {
    "model_request_duration_seconds": (
        "gen_ai.server.request.duration",
        "Time a request took on the server.",
    ),
    "model_time_to_first_token_seconds": (
        "gen_ai.server.time_to_first_token",
        "Time to generate the first token.",
    ),
    "model_time_per_output_token_seconds": (
        "gen_ai.server.time_per_output_token",
        "Time per output token after the first.",
    ),
}

_OPERATION = "text_completion"
_PROVIDER = "unknown"


def gen_ai_families(snapshot: Snapshot) -> tuple[Family, ...]:
    """Return the families under OpenTelemetry's names; none where no model counts tokens."""
    families = {family.name: family for family in snapshot.families}
    tokens = families.get("model_tokens_total")
    if tokens is None:
        return ()
    counting = {_without(point.labels, "direction") for point in tokens.numbers}
    told = families.get("model_info")
    facts = {} if told is None else {point.labels[:2]: dict(point.labels) for point in told.numbers}
    found = []
    for ours, (name, text) in _NAMES.items():
        points = (
            tuple(
                HistogramPoint(
                    _labels(point.labels, facts.get(point.labels[:2], {})), point.value, point.exemplars
                )
                for point in families[ours].histograms
                if point.labels in counting
            )
            if ours in families
            else ()
        )
        if points:
            found.append(Family(name, Kind.HISTOGRAM, "s", text, (), points))
    return tuple(found)


def _without(labels: Labels, name: str) -> Labels:
    return tuple(pair for pair in labels if pair[0] != name)


def _labels(labels: Labels, facts: dict[str, str]) -> Labels:
    model, version, *own = labels
    return (
        ("gen_ai.operation.name", facts.get("gen_ai_operation", _OPERATION)),
        ("gen_ai.provider.name", facts.get("gen_ai_provider", _PROVIDER)),
        ("gen_ai.request.model", model[1]),
        ("gen_ai.response.model", f"{model[1]}:{version[1]}"),
        *own,
    )
