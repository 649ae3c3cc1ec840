"""The SLA as values: who was promised what, over which time, and when to warn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ninesight_query.durations import duration_ms

from ninesight_analytics.sla.events import Events
from ninesight_analytics.sla.period import Period

__all__ = ["BurnWindow", "Objective", "Sla"]


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """Warn when the budget burns `factor` times too fast over both the long and the short look-back.

    The long one says that it matters, the short one that it still goes on (SRE workbook, chapter 5).
    """

    long: str
    """PromQL duration, "1h"."""
    short: str
    """PromQL duration, usually a twelfth of the long one."""
    factor: float
    """1 uses up the budget exactly within the SLA's period."""
    severity: str = "page"
    hold: str = ""
    """The rule's `for`; "" none."""

    @property
    def long_ms(self) -> int:
        """The long look-back."""
        return duration_ms(self.long)

    @property
    def short_ms(self) -> int:
        """The short look-back."""
        return duration_ms(self.short)


@dataclass(frozen=True, slots=True)
class Objective:
    """At least `target` of the valid events must be good."""

    name: str
    target: float
    """0..1, below 1."""
    events: Events
    minimum_requests: float
    """With fewer requests in the period a miss is judged by its confidence interval."""

    @property
    def budget(self) -> float:
        """Share of events that may fail: 1 - target."""
        return 1 - self.target


@dataclass(frozen=True, slots=True)
class Sla:
    """A service level agreement, read from OpenSLO."""

    name: str
    service: str
    objectives: tuple[Objective, ...]
    period: Period
    burn_windows: tuple[BurnWindow, ...]
    customer: str = ""
    model: str = ""
    version: str = ""
    display_name: str = ""
    description: str = ""

    @property
    def look_backs(self) -> tuple[str, ...]:
        """Every look-back of the burn windows once, shortest first."""
        return look_backs(self.burn_windows)


def look_backs(windows: Sequence[BurnWindow]) -> tuple[str, ...]:
    """Return the long and short durations once each, shortest first, as written."""
    texts = {window.long for window in windows} | {window.short for window in windows}
    return tuple(sorted(texts, key=lambda text: (duration_ms(text), text)))


def requests_for(failures: float, factor: float, budget: float) -> int:
    """Return how many requests it takes before `failures` of them mean a burn of `factor`.

    failures / (factor x budget): with fewer, a single failure or two would look like a disaster.
    """
    return math.ceil(failures / (factor * budget) - 1e-9)
