"""The figures of analytics for one engine: a thin citizen of `Figures`, nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ninesight_analytics import cost, latency, sla, traffic
from ninesight_analytics.contract import (
    Billing,
    CostReport,
    Estimate,
    Key,
    ModelSummary,
    Scope,
    SlaReport,
    Window,
)
from ninesight_analytics.pricebook import PriceBook
from ninesight_analytics.sla import Sla
from ninesight_query.contract import Engine

__all__ = ["EngineFigures"]


class EngineFigures:
    """Asks analytics, which asks the engine. Safe from many threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        price_book: PriceBook | None,
        slas: Sequence[Sla],
        billing: Billing = Billing.OBSERVED,
    ) -> None:
        self._engine = engine
        self._price_book = price_book
        self._slas = tuple(slas)
        self._billing = billing

    def models(
        self, window: Window, by: tuple[str, ...] = ("model",), scope: Scope | None = None
    ) -> Sequence[ModelSummary]:
        """Return one row per group seen in the window."""
        return traffic.models(self._engine, window, by=by, scope=scope or Scope())

    def latency(self, window: Window, quantiles: Sequence[float]) -> Mapping[Key, Mapping[float, Estimate]]:
        """Return percentiles over every request of every model."""
        return latency.percentiles(self._engine, window, quantiles, by=())

    def cost(self, window: Window) -> CostReport | None:
        """Return the bill, None without a price book."""
        if self._price_book is None:
            return None
        return cost.report(self._engine, window, self._price_book, billing=self._billing)

    def slas(self, now_ms: int) -> Sequence[SlaReport]:
        """Return how each contract stands."""
        return [sla.evaluate(self._engine, contract, now_ms) for contract in self._slas]
