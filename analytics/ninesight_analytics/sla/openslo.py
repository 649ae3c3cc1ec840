"""OpenSLO v1 documents as written, and our contract's extension of them.

The extension stands under `spec.ninesight`, or, for tools that refuse unknown keys, in
`metadata.annotations` as `ninesight/<key>` with a YAML value:

    metadata: {name: ranker, annotations: {ninesight/customer: Acme, ninesight/model: ranker}}
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ninesight_analytics.sla.events import Fallback
from ninesight_analytics.sla.period import openslo_duration_ms

__all__ = [
    "KINDS",
    "BurnWindowConfig",
    "ContractConfig",
    "IndicatorDocument",
    "IndicatorSpec",
    "ObjectiveConfig",
    "SloDocument",
    "TimeWindowConfig",
]

KINDS = ("DataSource", "SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service")
"""Every kind of OpenSLO v1. SLO and SLI are read; the others may stand in the same file."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(text: str) -> str:
    try:
        length = duration_ms(text)
    except ParseError as problem:
        raise ValueError(str(problem)) from None
    if not 1000 <= length <= 366 * 86_400_000:
        raise ValueError(f"must be between 1s and 366d, got {text!r}")
    return text


def _openslo_duration(text: str) -> str:
    openslo_duration_ms(text)
    return text


def _seconds(value: Any) -> float:
    """Read a threshold: a duration such as "250ms", or seconds as a number."""
    if isinstance(value, str):
        try:
            seconds = duration_ms(value) / 1000.0
        except ParseError as problem:
            raise ValueError(str(problem)) from None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f"must be a duration such as 250ms, or seconds as a number, got {value!r}")  # noqa: TRY004 - pydantic reads ValueError
    if not 0 < seconds < 1e9:
        raise ValueError(f"must be above 0, got {value!r}; write 250ms, or seconds as a number")
    return seconds


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"must be an IANA time zone, got {text!r}; write Europe/Berlin or UTC") from None
    return text


Duration = Annotated[str, AfterValidator(_duration)]
OpenSloDuration = Annotated[str, AfterValidator(_openslo_duration)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Zone = Annotated[str, AfterValidator(_zone)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Outcome = Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]


class MetadataConfig(_Written):
    """OpenSLO metadata."""

    name: Name
    """An RFC 1123 label of at most 63 characters."""
    displayName: str = Field(default="", max_length=63)  # noqa: N815 - OpenSLO's spelling
    labels: dict[str, str | list[str]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class BurnWindowConfig(_Written):
    """One pair of look-backs to warn on."""

    long: Duration
    short: Duration
    factor: float = Field(gt=0, le=1e6)
    severity: str = Field(default="page", min_length=1, max_length=63)
    hold: Duration | None = Field(default=None, alias="for")

    @model_validator(mode="after")
    def _long_is_longer(self) -> BurnWindowConfig:
        if duration_ms(self.long) <= duration_ms(self.short):
            raise ValueError(f"long must be longer than short, got {self.long} and {self.short}")
        return self


class ContractConfig(_Written):
    """What a contract has and OpenSLO does not."""

    customer: str = Field(default="", max_length=200)
    model: str = Field(default="", max_length=200)
    """The `model` label. Needed where the SLO has no indicator."""
    version: str = Field(default="", max_length=200)
    """The `version` label; "" any."""
    minimum_requests: float | None = Field(default=None, ge=0)
    """Below it a miss is judged by its confidence interval. None: 1 / error budget; 0: always by the figure."""
    time_zone: Zone | None = None
    """Zone of a calendar month; the same as calendar.timeZone."""
    exclude_outcomes: tuple[Outcome, ...] = ("cancelled",)
    """Requests with these outcomes do not count."""
    fallback: Fallback = Fallback.GOOD
    """How answers count that a fallback gave."""
    burn_windows: tuple[BurnWindowConfig, ...] | None = Field(default=None, min_length=1, max_length=10)
    """None: the SRE workbook's set, scaled to the period."""


class ObjectiveShorthand(_Written):
    """An objective on our canonical series, without an indicator."""

    kind: Literal["availability", "latency"]
    threshold: Seconds | None = None
    """Latency only: "250ms", or seconds."""

    @model_validator(mode="after")
    def _has_its_threshold(self) -> ObjectiveShorthand:
        if self.kind == "latency" and self.threshold is None:
            raise ValueError("threshold must be given for kind latency; write threshold: 250ms")
        if self.kind == "availability" and self.threshold is not None:
            raise ValueError("threshold is for kind latency only; drop it or change kind")
        return self


class MetricSourceConfig(_Written):
    """Where a query is asked; ours always goes to the configured engine."""

    metricSourceRef: str = ""  # noqa: N815 - OpenSLO's spelling
    type: str = ""
    spec: dict[str, Any]

    @property
    def query(self) -> str:
        """The PromQL text; "" where there is none."""
        text = self.spec.get("query", "")
        return text if isinstance(text, str) else ""


class MetricConfig(_Written):
    """One metricSource."""

    metricSource: MetricSourceConfig  # noqa: N815 - OpenSLO's spelling


class RatioMetricConfig(_Written):
    """Good or bad events, and all events."""

    counter: bool
    good: MetricConfig | None = None
    bad: MetricConfig | None = None
    total: MetricConfig | None = None
    raw: MetricConfig | None = None
    rawType: str | None = None  # noqa: N815 - OpenSLO's spelling


class IndicatorSpec(_Written):
    """An SLI: a ratio of events, or a value with a threshold (given at the objective)."""

    description: str = Field(default="", max_length=1050)
    ratioMetric: RatioMetricConfig | None = None  # noqa: N815 - OpenSLO's spelling
    thresholdMetric: MetricConfig | None = None  # noqa: N815 - OpenSLO's spelling

    @model_validator(mode="after")
    def _has_one(self) -> IndicatorSpec:
        if (self.ratioMetric is None) == (self.thresholdMetric is None):
            raise ValueError("must hold exactly one of ratioMetric and thresholdMetric")
        return self


class InlineIndicator(_Written):
    """An indicator written inside the SLO."""

    metadata: MetadataConfig | None = None
    spec: IndicatorSpec


class IndicatorDocument(_Written):
    """A document of kind SLI."""

    apiVersion: Literal["openslo/v1"]  # noqa: N815 - OpenSLO's spelling
    kind: Literal["SLI"]
    metadata: MetadataConfig
    spec: IndicatorSpec


class CalendarConfig(_Written):
    """When a calendar window starts."""

    startTime: Any = None  # noqa: N815 - OpenSLO's spelling
    timeZone: Zone = "UTC"  # noqa: N815 - OpenSLO's spelling


class TimeWindowConfig(_Written):
    """A rolling span, or a calendar month."""

    duration: OpenSloDuration
    isRolling: bool = True  # noqa: N815 - OpenSLO's spelling
    calendar: CalendarConfig | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> TimeWindowConfig:
        if self.isRolling and self.calendar is not None:
            raise ValueError("a rolling window has no calendar; drop calendar or set isRolling: false")
        if not self.isRolling and self.duration != "1M":
            raise ValueError(
                f"a calendar window must have duration 1M, got {self.duration!r}; or let it roll"
            )
        if self.calendar is not None and not _starts_a_month(self.calendar.startTime):
            raise ValueError(
                f"calendar.startTime must be the first of a month at 00:00:00, got {self.calendar.startTime!r}"
            )
        return self


def _starts_a_month(start: Any) -> bool:
    return start is None or re.fullmatch(r"\d{4}-\d{2}-01([ T]00:00(:00)?)?", str(start)) is not None


class ObjectiveConfig(_Written):
    """One target of the SLO."""

    displayName: str = Field(default="", max_length=63)  # noqa: N815 - OpenSLO's spelling
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    value: float | None = None
    target: Decimal | None = Field(default=None, ge=0, lt=1)
    targetPercent: Decimal | None = Field(default=None, ge=0, lt=100)  # noqa: N815 - OpenSLO's spelling
    ninesight: ObjectiveShorthand | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> ObjectiveConfig:
        if (self.target is None) == (self.targetPercent is None):
            raise ValueError("must hold exactly one of target (0.999) and targetPercent (99.9)")
        if self.ratio <= 0:
            raise ValueError("a target must be above 0; write target: 0.999")
        return self

    @property
    def ratio(self) -> float:
        """The target as 0..1; from percent by decimals, so 99.9 is 0.999."""
        return float(self.target if self.target is not None else (self.targetPercent or Decimal(0)) / 100)


class SloSpec(_Written):
    """The SLO itself. Other budgeting methods and composites are refused: they would give other figures."""

    description: str = Field(default="", max_length=1050)
    service: str = Field(min_length=1, max_length=200)
    indicator: InlineIndicator | None = None
    indicatorRef: str | None = None  # noqa: N815 - OpenSLO's spelling
    timeWindow: tuple[TimeWindowConfig] = Field()  # noqa: N815 - OpenSLO's spelling
    budgetingMethod: Literal["Occurrences"]  # noqa: N815 - OpenSLO's spelling
    objectives: tuple[ObjectiveConfig, ...] = Field(min_length=1, max_length=20)
    alertPolicies: list[Any] = Field(default_factory=list)  # noqa: N815 - OpenSLO's spelling
    ninesight: ContractConfig | None = None

    @model_validator(mode="after")
    def _has_at_most_one_indicator(self) -> SloSpec:
        if self.indicator is not None and self.indicatorRef is not None:
            raise ValueError("must hold at most one of indicator and indicatorRef")
        return self


class SloDocument(_Written):
    """A document of kind SLO."""

    apiVersion: Literal["openslo/v1"]  # noqa: N815 - OpenSLO's spelling
    kind: Literal["SLO"]
    metadata: MetadataConfig
    spec: SloSpec
