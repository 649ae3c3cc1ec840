"""The values analytics answers with. Every figure says how sure it is and where it comes from.

All functions of this part are pure in (engine, window, config): nothing is kept between calls.

    traffic.models(engine, window, by=("model",), scope=Scope())       -> tuple[ModelSummary, ...]
    latency.percentiles(engine, window, quantiles, by=, scope=)        -> Mapping[Key, Mapping[float, Estimate]]
    cost.report(engine, window, price_book)                            -> CostReport
    sla.evaluate(engine, sla, now_ms)                                  -> SlaReport
    sla.burn_rules(sla)                                                -> a Prometheus rule group (dict)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ninesight_analytics.errors import WindowError

__all__ = [
    "EVERYTHING",
    "NO_DATA",
    "Basis",
    "Billing",
    "CostLine",
    "CostReport",
    "Estimate",
    "Key",
    "ModelSummary",
    "ObjectiveReport",
    "Scope",
    "SlaReport",
    "SlaState",
    "Window",
]


class Basis(enum.StrEnum):
    """Where a figure comes from."""

    NATIVE = "native histogram"
    """Exponential buckets; bounds are the bucket's edges (at most 1.1 % at schema 6)."""
    CLASSIC = "classic buckets"
    """Bounds are the edges of the fixed bucket that holds the figure."""
    COUNTER = "counter"
    GAUGE = "gauge"
    SDK_BATCH = "batch execution time"
    """Accelerator-seconds measured by the SDK around each batch."""
    BUSY_COUNTER = "server busy counter"
    PROCESS_UTILIZATION = "NVML process utilisation"
    NONE = "no data"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its bounds: lower <= value <= upper. `value` is None where there is no data, never 0."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    count: float = 0.0
    """Observations behind the figure (requests, samples)."""
    basis: Basis = Basis.NONE


NO_DATA = Estimate(None)


@dataclass(frozen=True, slots=True)
class Window:
    """start_ms exclusive, end_ms inclusive, as PromQL ranges are. Raises WindowError unless end > start."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        if self.end_ms <= self.start_ms:
            raise WindowError(
                f"a window must end after it starts, got start_ms={self.start_ms} and end_ms={self.end_ms}"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.end_ms - self.start_ms) / 1000.0


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at; None means all."""

    model: str | None = None
    version: str | None = None
    instance: str | None = None


EVERYTHING = Scope()
"""No restriction."""

Key = tuple[str, ...]
"""Values of the `by` labels, in their order."""


@dataclass(frozen=True)
class ModelSummary:
    """One row per group: a model, or a model's version, or instance, as `by` asks."""

    key: Key
    labels: Mapping[str, str]
    request_rate: Estimate
    """Requests per second."""
    error_ratio: Estimate
    """Requests with outcome error or timeout, over all requests, 0..1; bounds are Wilson's 95 % interval."""
    outcomes: Mapping[str, Estimate]
    """Requests per second by outcome."""
    latency: Mapping[float, Estimate]
    """Seconds, by quantile (0.5, 0.9, 0.95, 0.99)."""
    latency_mean: Estimate
    """Seconds, sum over count."""
    prediction_rate: Estimate
    """Predictions per second."""
    in_flight: Estimate
    queue_depth: Estimate
    simulated: bool = False
    """True where any series behind the row carries simulated="true"."""


class Billing(enum.StrEnum):
    """For how long a priced unit (a GPU, an instance) is billed within a window."""

    OBSERVED = "observed"
    """From its first to its last sample; a gap of more than the engine's look-back (5 min) is not billed."""
    WINDOW = "window"
    """The whole window, as soon as the unit was seen in it once."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one model version cost in the window."""

    model: str
    version: str
    accelerator_seconds: float
    amount: float
    """In the report's currency."""
    predictions: float
    per_prediction: Estimate
    """Own share (value and lower bound); the upper bound also bears idle time in proportion to it."""
    per_thousand: Estimate
    """The same for 1,000 predictions."""


@dataclass(frozen=True)
class CostReport:
    """The bill and who caused it. Invariant: sum(line.amount) + idle == bill."""

    window: Window
    currency: str
    bill: float
    """Price x time over every priced unit seen in the window."""
    attributed: float
    idle: float
    idle_ratio: float | None
    """idle / bill, None without a bill."""
    lines: tuple[CostLine, ...]
    """Dearest first."""
    units: tuple[tuple[str, float, float], ...]
    """(what is priced, unit-hours, price per unit-hour): the bill is the sum of their products."""
    basis: Basis
    simulated: bool = False
    notes: tuple[str, ...] = ()
    """What the reader must know: unpriced GPUs, scaled attributions."""


class SlaState(enum.StrEnum):
    """How an objective stands."""

    OK = "ok"
    AT_RISK = "at risk"
    """Met so far, but the budget burns faster than the window allows."""
    BREACHED = "breached"
    """The budget is gone."""
    UNDECIDABLE = "undecidable"
    """The threshold lies inside a bucket: compliance is between two known values that straddle the target.

    Or too few requests: a miss that the 95 % interval does not confirm.
    """
    NO_DATA = "no data"


@dataclass(frozen=True)
class ObjectiveReport:
    """One objective (availability, or latency below a threshold) over the SLA's window."""

    name: str
    kind: str
    """availability or latency."""
    target: float
    """0..1."""
    compliance: Estimate
    """Good over valid requests, 0..1; None without requests."""
    good: float
    total: float
    budget_left: Estimate
    """Share of the error budget not used; 1 = untouched, negative = overdrawn."""
    burn_rates: Mapping[str, Estimate]
    """By look-back window as written in the SLA ("5m", "1h"); 1 = exactly using up the budget."""
    state: SlaState
    threshold_s: float | None = None


@dataclass(frozen=True)
class SlaReport:
    """A contract's standing at one time."""

    name: str
    service: str
    customer: str
    model: str
    window: Window
    objectives: tuple[ObjectiveReport, ...]
    state: SlaState
    """The worst of the objectives."""
    simulated: bool = False
    notes: tuple[str, ...] = field(default=())
