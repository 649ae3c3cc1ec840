"""What the models cost: price x time is the bill, measured seconds split it, the rest is idle.

    bill = sum over units of (hours there x price per hour)
         = amounts of the models + idle                       to 1e-9 relative, by construction

Where every measured second names a GPU (or host) that is on the bill, each GPU's bill is split
among the models that ran on it; else all units form one pool and a second costs the average.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ninesight_query.contract import Engine

from ninesight_analytics import presence
from ninesight_analytics.attribution import Split, split
from ninesight_analytics.billing import Bill, bill_of
from ninesight_analytics.contract import NO_DATA, Billing, CostLine, CostReport, Estimate, Key, Window
from ninesight_analytics.cost_series import CostSeries, series
from ninesight_analytics.pools import pools_of
from ninesight_analytics.pricebook import BUILT_IN, PriceBook
from ninesight_analytics.usage import Usage, predictions, usage

__all__ = ["CostSeries", "report", "series"]

_NAMED_MAX = 5
"""Units named in a note; the rest is counted."""


def report(
    engine: Engine, window: Window, price_book: PriceBook, *, billing: Billing = Billing.OBSERVED
) -> CostReport:
    """Return the bill of a window, what each model version caused, and what was idle.

    `per_prediction` is the model's own share; its upper bound also bears idle time in proportion
    to that share. Six or seven queries, whatever the number of models. Raises QueryError.
    """
    gpus = presence.gpus(engine, window)
    instances = presence.instances(engine, window) if price_book.prices_instances else ()
    bill = bill_of(gpus, instances, price_book, window, billing)
    used = usage(engine, window)
    pools, joined = pools_of(bill, used)
    parts = split(pools)
    counts = predictions(engine, window)
    amount = bill.amount
    return CostReport(
        window=window,
        currency=price_book.currency,
        bill=amount,
        attributed=math.fsum(parts.amounts.values()),
        idle=parts.idle,
        idle_ratio=min(parts.idle / amount, 1.0) if amount > 0 else None,
        lines=_lines(used, parts, counts, amount),
        units=bill.units,
        basis=used.basis,
        simulated=used.simulated or any(unit.simulated for unit in (*gpus, *instances)),
        notes=(
            *_bill_notes(bill, price_book, seen=len(gpus) + len(instances)),
            *_split_notes(bill, used, parts, counts, joined=joined),
        ),
    )


def _lines(used: Usage, parts: Split, counts: Mapping[Key, float], bill: float) -> tuple[CostLine, ...]:
    seconds: dict[Key, float] = {}
    for row in used.rows:
        seconds[row.key] = seconds.get(row.key, 0.0) + row.seconds
    attributed = math.fsum(parts.amounts.values())
    # Idle borne in proportion: every amount grows by the same factor, up to the whole bill.
    burden = bill / attributed if attributed > 0 else 1.0
    lines = []
    for key, measured in seconds.items():
        amount = parts.amounts.get(key, 0.0)
        each = _per(amount, counts.get(key, 0.0), max(burden, 1.0), used)
        lines.append(
            CostLine(
                model=key[0],
                version=key[1],
                accelerator_seconds=measured,
                amount=amount,
                predictions=counts.get(key, 0.0),
                per_prediction=each,
                per_thousand=_times(each, 1000.0),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.amount, line.model, line.version)))


def _per(amount: float, count: float, burden: float, used: Usage) -> Estimate:
    """Return the amount per prediction: own share as value and lower bound, idle borne as upper bound."""
    if count <= 0:
        return NO_DATA
    own = amount / count
    return Estimate(own, own, own * burden, count, used.basis)


def _times(estimate: Estimate, factor: float) -> Estimate:
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return NO_DATA
    return Estimate(
        estimate.value * factor,
        estimate.lower * factor,
        estimate.upper * factor,
        estimate.count,
        estimate.basis,
    )


def _bill_notes(bill: Bill, book: PriceBook, *, seen: int) -> Iterator[str]:
    """Say what the bill leaves out, and whose prices it takes."""
    if not seen:
        yield "no GPU was seen in the window (neither gpu_info nor gpu_utilization_ratio), so the bill is 0"
    elif not bill.charges:
        yield f"no price fits what was seen, so the bill is 0; add an entry to the {book.source or 'price book'}"
    if bill.unpriced:
        yield f"without a price: {_named([unit.label for unit in bill.unpriced])}"
    if book.source == BUILT_IN:
        for entry in bill.entries:
            origin = entry.note or f"list price of {entry.provider} {entry.sku}, not your contract"
            yield f"price {entry.id} comes from the built-in price book: {origin}"


def _split_notes(
    bill: Bill, used: Usage, parts: Split, counts: Mapping[Key, float], *, joined: bool
) -> Iterator[str]:
    """Say how the split was made where it is not plain."""
    if not used.rows:
        yield "no accelerator-seconds were measured, so the whole bill is idle"
    if parts.scaled > 1 + 1e-9:
        yield (
            f"measured accelerator-seconds exceed the time available by {100 * (parts.scaled - 1):.1f} %; "
            "attributions were scaled down to it"
        )
    prices = {(charge.entry.price_per_hour, charge.entry.per) for charge in bill.charges}
    if not joined and len(prices) > 1:
        yield "some accelerator-seconds name no priced GPU, so every second costs the average of all prices"
    if len(used.bases) > 1:
        yield f"models were measured by different sources: {', '.join(used.bases)}"
    measured = {row.model for row in used.rows}
    if missing := sorted({model for (model, _), count in counts.items() if count > 0} - measured):
        yield f"predictions without accelerator-seconds, their use is inside idle: {_named(missing)}"


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")
