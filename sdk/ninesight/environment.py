"""Settings from the environment: `NINESIGHT_*`, and OpenTelemetry's standard variables with their own units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ninesight.errors import ConfigError

__all__ = ["SignalUrl", "from_environment"]


class SignalUrl(str):
    """The URL of one signal (metrics, traces), to be used as it is: no path is added."""

    __slots__ = ("signal",)

    signal: str

    def __new__(cls, url: str, signal: str) -> Self:
        """Return the URL with the signal it is for."""
        made = super().__new__(cls, url)
        made.signal = signal
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override] # A copy is made with the signal.
        return str(self), self.signal


_STANDARD = {
    "otlp_headers": ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    "otlp_protocol": ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    "otlp_temporality": ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",),
}
"""OpenTelemetry's variables of a key; the first that is set wins."""


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that the environment names. Raises ConfigError with the variable's name for a wrong value."""
    attributes = _pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""), "OTEL_RESOURCE_ATTRIBUTES")
    found: dict[str, Any] = {"resource_attributes": attributes}
    if name := environment.get("OTEL_SERVICE_NAME") or attributes.get("service.name"):
        found["service_name"] = name
    if instance := attributes.get("service.instance.id"):
        found["instance"] = instance
    for key, names in _STANDARD.items():
        for name in names:
            said = environment.get(name, "").strip()
            if said:
                found[key] = _pairs(said, name) if key == "otlp_headers" else said.lower()
                break
    found |= _outlets(environment)
    if found.get("otlp_temporality") == "lowmemory":
        found["otlp_temporality"] = "delta"
    if interval := environment.get("OTEL_METRIC_EXPORT_INTERVAL"):
        found["export_interval_s"] = _number(interval, "OTEL_METRIC_EXPORT_INTERVAL") / 1000.0
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        found["enabled"] = False
    for key, read in _READERS.items():
        name = f"NINESIGHT_{key.upper()}"
        if text := environment.get(name):
            found[key] = read(text, name)
    return found


def _outlets(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return where OpenTelemetry's variables send metrics and traces, and whether they want traces."""
    found: dict[str, Any] = {}
    for_all = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    for_metrics = _signal_url(environment, "metrics")
    for_traces = _signal_url(environment, "traces")
    if _exports(environment, "metrics") is not False and (endpoint := for_metrics or for_all):
        found["otlp_endpoint"] = endpoint
    # What is for metrics alone is no place for traces while there is a place for all.
    if endpoint := for_traces or (for_all if for_all != found.get("otlp_endpoint") else ""):
        found["otlp_traces_endpoint"] = endpoint
    traces = _exports(environment, "traces")
    if traces or (traces is None and for_traces):
        found["traces"] = True
    return found


def _exports(environment: Mapping[str, str], signal: str) -> bool | None:
    """Tell whether OTLP is among the exporters named for a signal; None where none are named."""
    named = environment.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
    return "otlp" in [word.strip() for word in named.split(",")] if named else None


def _signal_url(environment: Mapping[str, str], signal: str) -> str:
    """Return the endpoint that is named for a signal alone. With a path it is used as it is, as OpenTelemetry does."""
    url = environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    _, _, after_scheme = url.partition("://")
    return SignalUrl(url, signal) if after_scheme.partition("/")[2] else url


def _text(text: str, name: str) -> str:
    return text.strip()


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} must be a number, got {text!r}; write e.g. 5") from None


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, got {text!r}; write e.g. 1024") from None


def _switch(text: str, name: str) -> bool:
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ConfigError(f"{name} must be true or false, got {text!r}; write {name}=false to turn recording off")


def _bounds(text: str, name: str) -> tuple[float, ...]:
    return tuple(_number(part, name) for part in text.split(","))


def _pairs(text: str, name: str) -> dict[str, str]:
    """Read `key=value,key=value` with percent-encoded values (W3C baggage, as OpenTelemetry does)."""
    if not text:
        return {}
    from urllib.parse import unquote

    pairs = {}
    for item in filter(None, map(str.strip, text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            # A header's value may be a secret: the message shows none of it.
            raise ConfigError(
                f"{name} must be key=value pairs joined by commas; an entry has no key or no '='"
            )
        pairs[key.strip()] = unquote(value.strip())
    return pairs


_READERS = {
    "service_name": _text,
    "instance": _text,
    "otlp_endpoint": _text,
    "otlp_headers": _pairs,
    "export_interval_s": _number,
    "buckets": _bounds,
    "enabled": _switch,
    "buffer_records_max": _whole,
    "histogram_buckets_max": _whole,
    "models_max": _whole,
    "stages_max": _whole,
    "label_values_max": _whole,
    "label_sets_max": _whole,
    "multiprocess_dir": _text,
    "otlp_protocol": _text,
    "otlp_temporality": _text,
    "otlp_traces_endpoint": _text,
    "traces": _switch,
    "trace_share": _number,
    "trace_window_s": _number,
    "traces_waiting_max": _whole,
}
