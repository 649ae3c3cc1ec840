"""Bring measured seconds to the units they were spent on, as pools for `attribution.split`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ninesight_analytics.attribution import Pool
from ninesight_analytics.billing import Bill, Charge
from ninesight_analytics.contract import Key
from ninesight_analytics.presence import Unit
from ninesight_analytics.pricebook import Per
from ninesight_analytics.usage import Usage, Used

__all__ = ["pools_of"]


def pools_of(bill: Bill, used: Usage) -> tuple[list[Pool], bool]:
    """Return the pools, and whether each measured second was joined to the unit it was spent on.

    One pool per unit if every row finds its unit, else one pool of everything.
    """
    charges: dict[Unit, list[Charge]] = {}
    for charge in bill.charges:
        charges.setdefault(charge.unit, []).append(charge)
    places = _places(charges)
    seconds: dict[Unit, dict[Key, float]] = {unit: {} for unit in charges}
    for row in used.rows:
        unit = _unit_of(row, places)
        if unit is None:
            return [_pool(list(bill.charges), _seconds(used))], False
        seconds[unit][row.key] = seconds[unit].get(row.key, 0.0) + row.seconds
    return [_pool(parts, seconds[unit]) for unit, parts in charges.items()], True


def _pool(charges: list[Charge], used_s: Mapping[Key, float]) -> Pool:
    return Pool(
        bill=math.fsum(charge.amount for charge in charges),
        capacity_s=math.fsum(charge.capacity_s for charge in charges),
        used_s=used_s,
    )


def _seconds(used: Usage) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for row in used.rows:
        found[row.key] = found.get(row.key, 0.0) + row.seconds
    return found


def _places(charges: Mapping[Unit, list[Charge]]) -> dict[tuple[str, str], Unit]:
    """Index the units by (host, gpu), by ("", uuid), and machines priced as a whole by (host, "*")."""
    places: dict[tuple[str, str], Unit] = {}
    for unit, parts in charges.items():
        if any(charge.entry.per is Per.INSTANCE for charge in parts):
            places[(unit.host, "*")] = unit
            continue
        places[(unit.host, unit.gpu)] = unit
        if unit.uuid:
            places[("", unit.uuid)] = unit
    return places


def _unit_of(row: Used, places: Mapping[tuple[str, str], Unit]) -> Unit | None:
    if not row.gpu:
        return places.get((row.host, "*"))
    for place in ((row.host, row.gpu), ("", row.gpu), (row.host, "*")):
        if (unit := places.get(place)) is not None:
            return unit
    return None
