"""Metric names and units: OpenTelemetry's spelling to Prometheus'.

After the OpenTelemetry-Prometheus compatibility specification: a unit becomes a suffix and a
monotonic sum ends in `_total`, each only where the name does not say so already.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from ninesight_collector.names import metric_name

__all__ = ["prometheus_name", "unit_words"]

_UNITS = MappingProxyType(
    {
        "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
        "us": "microseconds", "ns": "nanoseconds",
        "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes",
        "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
        "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
        "Cel": "celsius", "Hz": "hertz", "%": "percent", "1": "",
    }
)  # fmt: skip
_PER = MappingProxyType(
    {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
)
_BRACES = re.compile(r"\{[^}]*\}")
_SPLIT = re.compile(r"[^a-zA-Z0-9:]+")


def unit_words(unit: str) -> tuple[str, str]:
    """Return the words of a UCUM unit: "By/s" is ("bytes", "second"), "{request}" and "1" are ("", "")."""
    main, _, per = (part.strip() for part in _BRACES.sub("", unit).partition("/"))
    return _UNITS.get(main, _word(main)), _PER.get(per, _word(per))


def prometheus_name(name: str, unit: str, *, monotonic: bool = False, gauge: bool = False) -> str:
    """Return the Prometheus name of an OTLP metric; "" if nothing usable is left of it."""
    tokens = [token for token in _SPLIT.split(name) if token]
    if not tokens:
        return ""
    main, per = unit_words(unit)
    if main and main not in tokens:
        tokens.append(main)
    if per and per not in tokens:
        tokens += ["per", per]
    if gauge and unit.strip() == "1" and "ratio" not in tokens:
        tokens.append("ratio")
    if monotonic:
        tokens = [word for word in tokens if word != "total"] + ["total"]
    return metric_name("_".join(tokens))


def _word(unit: str) -> str:
    return "_".join(token for token in _SPLIT.split(unit) if token)
