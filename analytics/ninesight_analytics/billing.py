"""The bill: price x time of every unit, cut where a price begins or ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ninesight_analytics.contract import Billing, Window
from ninesight_analytics.presence import Span, Unit
from ninesight_analytics.pricebook import Per, PriceBook, PriceEntry

__all__ = ["Bill", "Charge", "bill_of"]


@dataclass(frozen=True, slots=True)
class Charge:
    """One unit under one price for one span of time."""

    unit: Unit
    entry: PriceEntry
    span: Span

    @property
    def hours(self) -> float:
        """Length of the span."""
        return (self.span[1] - self.span[0]) / 3_600_000.0

    @property
    def amount(self) -> float:
        """Price x time."""
        return self.hours * float(self.entry.price_per_hour)

    @property
    def capacity_s(self) -> float:
        """Accelerator-seconds there were: one a second for each GPU of the unit."""
        gpus = float(self.entry.gpu_count) if self.entry.per is Per.INSTANCE else 1.0
        return self.hours * 3600.0 * gpus


@dataclass(frozen=True)
class Bill:
    """Every charge, and the units that no entry prices."""

    charges: tuple[Charge, ...]
    unpriced: tuple[Unit, ...]

    @property
    def units(self) -> tuple[tuple[str, float, float], ...]:
        """(entry, unit-hours, price per unit-hour), dearest first."""
        hours: dict[str, list[float]] = {}
        entries: dict[str, PriceEntry] = {}
        for charge in self.charges:
            entries[charge.entry.id] = charge.entry
            hours.setdefault(charge.entry.id, []).append(charge.hours)
        lines = [
            (name, math.fsum(parts), float(entries[name].price_per_hour)) for name, parts in hours.items()
        ]
        return tuple(sorted(lines, key=lambda line: (-line[1] * line[2], line[0])))

    @property
    def amount(self) -> float:
        """The sum of the products of `units`."""
        return math.fsum(hours * price for _, hours, price in self.units)

    @property
    def entries(self) -> tuple[PriceEntry, ...]:
        """The entries that priced anything, by id."""
        found = {charge.entry.id: charge.entry for charge in self.charges}
        return tuple(found[name] for name in sorted(found))


def bill_of(
    gpus: Sequence[Unit],
    instances: Sequence[Unit],
    book: PriceBook,
    window: Window,
    billing: Billing,
) -> Bill:
    """Price every unit. A GPU on an instance that is priced as a whole is covered by the instance's price."""
    charges: list[Charge] = []
    unpriced: list[Unit] = []
    for unit in instances:
        charges += _charges(unit, book, window, billing, Per.INSTANCE)
    for unit in gpus:
        own = _charges(unit, book, window, billing, Per.GPU)
        charges += own
        if not own and not _covered(unit, book, window, billing):
            unpriced.append(unit)
    return Bill(tuple(charges), tuple(unpriced))


def _charges(unit: Unit, book: PriceBook, window: Window, billing: Billing, per: Per) -> list[Charge]:
    found = []
    for span in _segments(unit, book, window, billing):
        covering = _entry(unit, book, span, Per.INSTANCE)
        entry = covering if per is Per.INSTANCE else _entry(unit, book, span, Per.GPU)
        if entry is not None and (per is Per.INSTANCE or covering is None):
            found.append(Charge(unit, entry, span))
    return found


def _covered(unit: Unit, book: PriceBook, window: Window, billing: Billing) -> bool:
    return any(_entry(unit, book, span, Per.INSTANCE) for span in _segments(unit, book, window, billing))


def _entry(unit: Unit, book: PriceBook, span: Span, per: Per) -> PriceEntry | None:
    return book.entry_for(
        per, gpu_model=unit.gpu_model, instance=unit.host, simulated=unit.simulated, at_ms=span[0]
    )


def _segments(unit: Unit, book: PriceBook, window: Window, billing: Billing) -> Iterator[Span]:
    """Yield the unit's billed time in pieces within which no price changes."""
    whole: Iterable[Span] = [(window.start_ms, window.end_ms)] if unit.spans else []
    for begin, end in whole if billing is Billing.WINDOW else unit.spans:
        cuts = [begin, *book.changes(begin, end), end]
        yield from itertools.pairwise(cuts)
