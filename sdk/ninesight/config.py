"""Settings of the SDK: from code, from `NINESIGHT_*`, from OpenTelemetry's standard variables.

An argument of `configure` wins over `NINESIGHT_*`, that over `OTEL_*`, that over the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from itertools import pairwise
from math import isfinite
from typing import Any

from ninesight.environment import SignalUrl, from_environment
from ninesight.errors import ConfigError
from ninesight.outcomes import checked_outcomes

__all__ = ["DURATION_BOUNDS", "SdkConfig", "bounds_of", "config_from", "otlp_url", "usable_config"]

PROTOCOLS = ("http/protobuf", "grpc")
TEMPORALITIES = ("cumulative", "delta")
SIGNALS = ("metrics", "traces")

DURATION_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Classic upper bounds of durations in seconds."""


@dataclass(frozen=True)
class SdkConfig:
    """What a person may set. Checked when made; errors name the key."""

    service_name: str = "unknown_service"
    """`job` of every series (`OTEL_SERVICE_NAME`)."""
    instance: str = ""
    """`instance` of every series; empty means host name and process id, so that workers stay apart."""
    otlp_endpoint: str | None = None
    """Where to push, e.g. http://127.0.0.1:9901; /v1/metrics is added unless it is there. None: no push."""
    otlp_protocol: str = "http/protobuf"
    """http/protobuf or grpc (needs `ninesight[grpc]`)."""
    otlp_temporality: str = "cumulative"
    """cumulative, or delta: what came since the last push that was taken."""
    otlp_traces_endpoint: str | None = None
    """Where traces go, if not where metrics do; /v1/traces is added unless it is there."""
    otlp_headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each push, e.g. an authorization. Never logged."""
    export_interval_s: float = 5.0
    """Seconds from one push to the next, at least 0.1."""
    buckets: tuple[float, ...] = DURATION_BOUNDS
    """Classic bounds of durations in seconds, ascending; name your SLA thresholds here to have them counted exactly."""
    enabled: bool = True
    """False turns everything into no-ops; a function decorated while it is False is handed back unchanged."""
    buffer_records_max: int = 1 << 20
    """Records that may wait for aggregation in all threads together, at 32 bytes each; more are dropped and counted."""
    histogram_buckets_max: int = 1024
    """Occupied buckets of one histogram before its schema, and with it its error bound, is coarsened; at least 160."""
    models_max: int = 1000
    """Different (model, version) pairs; further ones are counted as `__other__`."""
    stages_max: int = 16
    """Stages of your own making a model; further ones are counted as `__other__`."""
    label_values_max: int = 100
    """Different values of one label of your own; further ones are counted as `__other__`."""
    label_sets_max: int = 500
    """Different sets of own labels, of all models together and of each metric of your own."""
    multiprocess_dir: str | None = None
    """A folder of this host that all workers of one server share: any of them then answers, and pushes, for all."""
    traces: bool = False
    """True keeps traces of calls worth it: each failure, the slowest of each window, a random share."""
    trace_share: float = 0.001
    """Share of all calls that is kept by chance, 0 to 1."""
    trace_window_s: float = 10.0
    """Seconds of which the slowest call of each model version is kept, at least 0.1."""
    traces_waiting_max: int = 2048
    """Kept calls that may wait for export; more are dropped and counted."""
    outcomes: Mapping[type[BaseException], str] = field(default_factory=dict)
    """What exceptions of your own stand for, e.g. {QueueFull: "shed"}."""
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    """More attributes of the process, sent over OTLP (`OTEL_RESOURCE_ATTRIBUTES`)."""

    def __post_init__(self) -> None:
        _check_number("export_interval_s", self.export_interval_s, 0.1, "s")
        _check_int("buffer_records_max", self.buffer_records_max, 1024)
        _check_int("histogram_buckets_max", self.histogram_buckets_max, 160)
        _check_int("models_max", self.models_max, 1)
        _check_int("stages_max", self.stages_max, 0)
        _check_int("label_values_max", self.label_values_max, 1)
        _check_int("label_sets_max", self.label_sets_max, 1)
        _check_int("traces_waiting_max", self.traces_waiting_max, 1)
        _check_number("trace_window_s", self.trace_window_s, 0.1, "s")
        _check_number("trace_share", self.trace_share, 0.0, "(a share of 1)")
        if self.trace_share > 1.0:
            raise ConfigError(f"trace_share must be at most 1, got {self.trace_share!r}; write 0.01 for 1 %")
        _check_word("otlp_protocol", self.otlp_protocol, PROTOCOLS)
        _check_word("otlp_temporality", self.otlp_temporality, TEMPORALITIES)
        checked_outcomes(self.outcomes)
        if self.multiprocess_dir is not None and find_spec("fcntl") is None:
            raise ConfigError(
                f"multiprocess_dir needs file locks as Linux and macOS have them, got {self.multiprocess_dir!r} "
                "on another system; leave it out and scrape each worker"
            )
        _check_bounds(self.buckets)
        if not self.service_name:
            raise ConfigError("service_name must not be empty, got ''; leave it out for the default")
        for endpoint in (self.otlp_endpoint, self.otlp_traces_endpoint):
            if endpoint is not None:
                otlp_url(endpoint, "metrics")
        if self.otlp_protocol == "grpc" and self.otlp_endpoint is not None and find_spec("grpc") is None:
            raise ConfigError(
                "otlp_protocol must be http/protobuf where grpcio is not installed, got 'grpc'; "
                "pip install 'ninesight[grpc]'"
            )

    @property
    def export_timeout_s(self) -> float:
        """Seconds that one push may take: the interval, between 1 and 10."""
        return max(1.0, min(10.0, self.export_interval_s))

    @property
    def resource(self) -> dict[str, str]:
        """Attributes of the process, as OTLP names them."""
        attributes = dict(self.resource_attributes)
        attributes["service.name"] = self.service_name
        # Workers that share a folder are one instance: the host, whichever of them answers.
        own = _host() if self.multiprocess_dir else f"{_host()}:{os.getpid()}"
        attributes["service.instance.id"] = self.instance or own
        return attributes


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "localhost")


def otlp_url(endpoint: str, signal: str, protocol: str = "http/protobuf") -> str:
    """Return the URL of a signal (metrics, traces). Raises ConfigError unless the endpoint is an http(s) URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"otlp_endpoint must be an http:// or https:// URL with a host, got {endpoint!r}; "
            "write e.g. http://127.0.0.1:9901"
        )
    if protocol == "grpc" or parts.query or (isinstance(endpoint, SignalUrl) and endpoint.signal == signal):
        return str(endpoint)
    base = endpoint.rstrip("/")
    for known in SIGNALS:
        base = base.removesuffix(f"/v1/{known}")
    return f"{base}/v1/{signal}"


def config_from(environment: Mapping[str, str], base: SdkConfig | None = None, **given: Any) -> SdkConfig:
    """Return the settings: `given` (None means not given) over `base`, or over the environment.

    Raises ConfigError in plain words for a wrong value, in the user's spelling of the key.
    """
    unknown = sorted(set(given) - {item.name for item in fields(SdkConfig)})
    if unknown:
        known = ", ".join(sorted(item.name for item in fields(SdkConfig)))
        raise ConfigError(f"configure takes {known}; got {', '.join(unknown)}; check the spelling")
    told = {key: value for key, value in given.items() if value is not None}
    if "buckets" in told:
        told["buckets"] = bounds_of(told["buckets"])
    if base is not None:
        return replace(base, **told)
    return SdkConfig(**{**from_environment(environment), **told})


def usable_config(environment: Mapping[str, str]) -> tuple[SdkConfig, list[ConfigError]]:
    """Return the settings of those variables that are right, and what is wrong with the others: a process must go on."""
    right: dict[str, str] = {}
    wrong = []
    found = SdkConfig()
    for name in sorted(environment):
        if name.startswith(("NINESIGHT_", "OTEL_")):
            try:
                found = config_from({**right, name: environment[name]})
            except ConfigError as error:
                wrong.append(error)
            else:
                right[name] = environment[name]
    return found, wrong


def bounds_of(given: Sequence[float]) -> tuple[float, ...]:
    """Return classic bounds as floats. Raises ConfigError unless they are finite, above 0 and ascending."""
    try:
        bounds = tuple(float(bound) for bound in given)
    except (TypeError, ValueError):
        raise ConfigError(f"buckets must be numbers, got {given!r}; write e.g. [0.05, 0.1]") from None
    _check_bounds(bounds)
    return bounds


def _check_bounds(bounds: tuple[float, ...]) -> None:
    ascending = all(low < high for low, high in pairwise(bounds))
    if not ascending or not all(isfinite(bound) and bound > 0 for bound in bounds) or len(bounds) > 200:
        raise ConfigError(
            f"buckets must be at most 200 finite numbers above 0 in ascending order, got {bounds!r}; "
            "sort them, and leave +Inf out"
        )


def _check_number(name: str, value: float, least: float, unit: str) -> None:
    if not isinstance(value, int | float) or not isfinite(value) or value < least:
        raise ConfigError(f"{name} must be at least {least:g} {unit}, got {value!r}; raise {name}")


def _check_int(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}; raise {name}")


def _check_word(name: str, word: str, words: Sequence[str]) -> None:
    if word not in words:
        raise ConfigError(f"{name} must be one of {', '.join(words)}, got {word!r}; choose one of them")
