"""What an objective counts: valid events and good ones, from an engine or as PromQL for a rule.

OutcomeEvents     our request counter by outcome          availability
QueryEvents       OpenSLO ratioMetric, two queries        availability
LatencyEvents     a histogram and a threshold             latency
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ninesight_query.contract import Engine
from ninesight_query.durations import duration_ms, format_duration

from ninesight_analytics import latency
from ninesight_analytics.contract import Basis, Estimate, Window
from ninesight_analytics.distribution import fraction_at_most
from ninesight_analytics.rows import Row, ask, number
from ninesight_analytics.selectors import quoted, range_of, selector

__all__ = ["WINDOW_MARK", "Counts", "Events", "Fallback", "LatencyEvents", "OutcomeEvents", "QueryEvents"]

WINDOW_MARK = re.compile(r"\{\{\s*\.window\s*\}\}")
"""Sloth's way to leave the look-back open in a query: `[{{.window}}]`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Events in a window. good_lower < good_upper only where buckets hide the truth."""

    good: float
    good_lower: float
    good_upper: float
    total: float
    basis: Basis
    simulated: bool = False

    @property
    def bad(self) -> float:
        """Events that missed the objective."""
        return self.total - self.good

    @property
    def compliance(self) -> Estimate:
        """Good over total; no value without events."""
        if self.total <= 0:
            return Estimate(None)
        shares = [min(max(n / self.total, 0.0), 1.0) for n in (self.good, self.good_lower, self.good_upper)]
        return Estimate(shares[0], shares[1], shares[2], self.total, self.basis)


class Events(Protocol):
    """A source of events. Pure in (engine, window)."""

    @property
    def kind(self) -> str:
        """availability or latency."""

    @property
    def threshold_s(self) -> float | None:
        """Seconds, for latency."""

    def counts(self, engine: Engine, window: Window) -> Counts:
        """Count the events in a window. Raises QueryError."""

    def bad_ratio(self, span: str) -> str:
        """Return PromQL for the share of bad events over a look-back such as "5m"; one element, no labels."""

    def total(self, span: str) -> str:
        """Return PromQL for the number of valid events over a look-back; one element, no labels."""


class Fallback(enum.StrEnum):
    """How an answer counts that a fallback gave in the model's place."""

    GOOD = "good"
    """The user was answered."""
    BAD = "bad"
    """The model itself was promised."""
    EXCLUDED = "excluded"
    """It is no event of this SLA."""


@dataclass(frozen=True)
class OutcomeEvents:
    """Requests of a model by outcome. Good is `ok`; shed counts as bad; excluded outcomes do not count."""

    labels: Mapping[str, str]
    """Matchers: model, and version if one was promised."""
    exclude_outcomes: tuple[str, ...] = ("cancelled",)
    fallback: Fallback = Fallback.GOOD
    kind: str = "availability"
    threshold_s: float | None = None

    def counts(self, engine: Engine, window: Window) -> Counts:
        """One query, by outcome."""
        series = selector("model_requests_total", self.labels)
        query = f"sum by (outcome, served_by, simulated) (increase({series}{range_of(window)}))"
        valid = [row for row in ask(engine, query, window.end_ms) if self._valid(row)]
        good = sum(row.value for row in valid if self._good(row))
        simulated = any(row.simulated for row in valid)
        total = sum(row.value for row in valid)
        return Counts(good, good, good, total, Basis.COUNTER, simulated)

    def bad_ratio(self, span: str) -> str:
        """Bad over valid requests; no bad series at all means no element, so no alert."""
        failed = self._series('outcome!="ok"')
        bad = f"sum(rate({failed}[{span}]))"
        if self.fallback is Fallback.BAD:
            fallback = self._series('outcome="ok"', 'served_by="fallback"')
            covered = f"sum(rate({fallback}[{span}]))"
            bad = f"(({bad} or vector(0)) + ({covered} or vector(0)))"
        return f"{bad} / sum(rate({self._series()}[{span}]))"

    def total(self, span: str) -> str:
        """Valid requests."""
        return f"sum(increase({self._series()}[{span}]))"

    def _series(self, *more: str) -> str:
        matchers = list(more)
        if self.exclude_outcomes:
            pattern = "|".join(re.escape(outcome) for outcome in self.exclude_outcomes)
            matchers.append(f"outcome!~{quoted(pattern)}")
        if self.fallback is Fallback.EXCLUDED:
            matchers.append('served_by!="fallback"')
        return selector("model_requests_total", self.labels, *matchers)

    def _valid(self, row: Row) -> bool:
        excluded = self.fallback is Fallback.EXCLUDED and row.labels.get("served_by") == "fallback"
        return row.labels.get("outcome", "") not in self.exclude_outcomes and not excluded

    def _good(self, row: Row) -> bool:
        covered = self.fallback is Fallback.BAD and row.labels.get("served_by") == "fallback"
        return row.labels.get("outcome") == "ok" and not covered


@dataclass(frozen=True, slots=True)
class QueryEvents:
    """OpenSLO's ratioMetric. Each query is a counter selector, or holds `{{.window}}` where the look-back goes.

    A query with `rate(` gives events a second; it is multiplied by the look-back to count events.
    """

    total_query: str
    good_query: str = ""
    """Exactly one of good and bad is given."""
    bad_query: str = ""
    kind: str = "availability"
    threshold_s: float | None = None

    def counts(self, engine: Engine, window: Window) -> Counts:
        """Two queries."""
        span = format_duration(window.end_ms - window.start_ms)
        total = number(engine, self.total(span), window.end_ms) or 0.0
        some = number(engine, events_expr(self.good_query or self.bad_query, span), window.end_ms) or 0.0
        good = min(max(some if self.good_query else total - some, 0.0), total)
        return Counts(good, good, good, total, Basis.COUNTER)

    def bad_ratio(self, span: str) -> str:
        """Bad over total, or 1 - good over total."""
        total = events_expr(self.total_query, span)
        if self.bad_query:
            return f"{events_expr(self.bad_query, span)} / {total}"
        return f"1 - (({events_expr(self.good_query, span)}) or vector(0)) / {total}"

    def total(self, span: str) -> str:
        """Events of the total query."""
        return events_expr(self.total_query, span)


def events_expr(query: str, span: str) -> str:
    """Return PromQL that counts a ratioMetric query's events over a look-back, as one element."""
    text = query.strip()
    if not WINDOW_MARK.search(text):
        return f"sum(increase({text}[{span}]))"
    written = f"sum({WINDOW_MARK.sub(span, text)})"
    if re.search(r"\brate\s*\(", text):
        return f"({written} * {duration_ms(span) / 1000:g})"
    return written


@dataclass(frozen=True)
class LatencyEvents:
    """Requests of a histogram; good ones took at most the threshold.

    Every observation of the histogram is valid: failed requests count by how long they took.
    """

    threshold_s: float | None
    labels: Mapping[str, str] = field(default_factory=dict)
    metric: str = latency.METRIC
    matchers: tuple[str, ...] = ()
    """Further matchers, already written."""
    kind: str = "latency"

    def counts(self, engine: Engine, window: Window) -> Counts:
        """Two queries for a native histogram, four for a classic one, one for the simulated flag."""
        found = latency.distributions(
            engine, window, by=(), metric=self.metric, more=(*self._equal(), *self.matchers)
        )
        known = found.get(())
        if known is None:
            return Counts(0.0, 0.0, 0.0, 0.0, Basis.NONE)
        share = fraction_at_most(known, self._threshold)
        assert share.value is not None
        assert share.lower is not None
        assert share.upper is not None
        return Counts(
            good=share.value * share.count,
            good_lower=share.lower * share.count,
            good_upper=share.upper * share.count,
            total=share.count,
            basis=share.basis,
            simulated=self._simulated(engine, window),
        )

    def bad_ratio(self, span: str) -> str:
        """1 - histogram_fraction, on the native histogram or else on the classic buckets."""
        below = f"histogram_fraction(0, {self._threshold!r}, "
        native = f"{below}sum(rate({self._series('')}[{span}])))"
        classic = f"{below}sum by (le) (rate({self._series('_bucket')}[{span}])))"
        return f"1 - ({native} or {classic})"

    def total(self, span: str) -> str:
        """Observations, of the native histogram or else of the classic counter."""
        native = f"histogram_count(sum(increase({self._series('')}[{span}])))"
        return f"({native} or sum(increase({self._series('_count')}[{span}])))"

    @property
    def _threshold(self) -> float:
        assert self.threshold_s is not None
        return self.threshold_s

    def _equal(self) -> tuple[str, ...]:
        return tuple(f"{name}={quoted(value)}" for name, value in self.labels.items())

    def _series(self, suffix: str, *more: str) -> str:
        return selector(self.metric + suffix, self.labels, *self.matchers, *more)

    def _simulated(self, engine: Engine, window: Window) -> bool:
        flag, span = 'simulated="true"', range_of(window)
        native, classic = self._series("", flag), self._series("_count", flag)
        query = f"count(last_over_time({native}{span})) or count(last_over_time({classic}{span}))"
        return bool(number(engine, query, window.end_ms))
