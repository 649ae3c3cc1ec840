"""The price book: what a GPU or an instance costs per hour, from when to when, and who says so.

    entries:
      - id: aws-h100
        gpu_model: ".*H100.*"          # regular expression over the whole GPU name
        purchase: on_demand
        price_per_hour: "6.88"         # a decimal in quotes: money is never a binary fraction
        valid_from: 2025-06-01
        source_url: https://...

The first entry that fits a unit at a time prices it, so put the special before the general.
"""

from __future__ import annotations

import enum
import functools
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ninesight_analytics.documents import checked, read_documents
from ninesight_analytics.errors import PriceBookError

__all__ = ["BUILT_IN", "Per", "PriceBook", "PriceEntry", "Purchase", "built_in", "load"]

BUILT_IN = "built-in price book"


class Purchase(enum.StrEnum):
    """How the capacity is bought."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"
    OWNED = "owned"
    """Bought hardware: the price is what an hour is worth to its owner."""


class Per(enum.StrEnum):
    """What one price pays for."""

    GPU = "gpu"
    INSTANCE = "instance"
    """A whole machine, its GPUs included."""


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f'must be a decimal in quotes such as "6.88", got {value!r}; put it in quotes')  # noqa: TRY004 - pydantic reads ValueError
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f'must be a decimal such as "6.88", got {value!r}') from None
    if not number.is_finite() or not 0 <= number <= 1_000_000:
        raise ValueError(f"must be between 0 and 1000000, got {value!r}")
    return number


def _instant_ms(value: Any) -> int | None:
    """A date begins at midnight UTC; a time without an offset is UTC."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if isinstance(parsed, datetime):
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    if isinstance(parsed, date):
        return round(datetime.combine(parsed, time(), UTC).timestamp() * 1000)
    raise ValueError(f"must be a date such as 2026-11-09 or a time with an offset, got {value!r}")


def _pattern(value: Any) -> re.Pattern[str] | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise ValueError(f"must be a regular expression of 1 to 200 characters, got {value!r}")
    try:
        return re.compile(value, re.IGNORECASE)
    except re.error as problem:
        raise ValueError(f"must be a regular expression ({problem}), got {value!r}") from None


Price = Annotated[Decimal, BeforeValidator(_decimal)]
Instant = Annotated[int | None, BeforeValidator(_instant_ms)]
Pattern = Annotated[re.Pattern[str] | None, BeforeValidator(_pattern)]


class PriceEntry(BaseModel):
    """One price with what it fits, when it holds and where it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: str = Field(min_length=1, max_length=120)
    provider: str = ""
    sku: str = ""
    region: str = ""
    gpu_model: Pattern = None
    """Fits the whole GPU name, letter case ignored. None fits any."""
    instance: Pattern = None
    """Fits the whole host part of the `instance` label. None fits any."""
    simulated: bool | None = None
    """true fits only simulated units, false only real ones, None both."""
    gpu_count: Annotated[Decimal, BeforeValidator(_decimal)] = Decimal(1)
    """GPUs in the SKU, may be a fraction. For `per: instance` it bounds the accelerator-seconds there are."""
    purchase: Purchase
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    price_per_hour: Price
    """Of one GPU, or of one instance, as `per` says; a decimal in quotes."""
    per: Per = Per.GPU
    valid_from: Instant = None
    """Inclusive; milliseconds once read."""
    valid_to: Instant = None
    """Exclusive; milliseconds once read."""
    observed_at: Instant = None
    source_url: str = ""
    note: str = ""

    @field_validator("gpu_count")
    @classmethod
    def _counts_something(cls, value: Decimal) -> Decimal:
        if value <= 0:
            raise ValueError(f"must be above 0, got {value}; leave it out for one GPU")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> PriceEntry:
        if self.gpu_model is None and self.instance is None and self.simulated is None:
            raise ValueError(
                f"entry {self.id!r} must say what it prices: give gpu_model, instance or simulated"
            )
        if self.per is Per.INSTANCE and self.instance is None:
            raise ValueError(f"entry {self.id!r} is priced per instance and must give instance, a pattern")
        if self.per is Per.INSTANCE and self.gpu_model is not None:
            raise ValueError(
                f"entry {self.id!r} is priced per instance and must be matched by instance alone; drop gpu_model"
            )
        if None not in (self.valid_from, self.valid_to) and (self.valid_to or 0) <= (self.valid_from or 0):
            raise ValueError(f"entry {self.id!r}: valid_to must be after valid_from")
        return self

    def fits(self, *, gpu_model: str, instance: str, simulated: bool, at_ms: int) -> bool:
        """Say whether this entry prices such a unit at such a time."""
        return (
            (self.valid_from is None or at_ms >= self.valid_from)
            and (self.valid_to is None or at_ms < self.valid_to)
            and (self.simulated is None or self.simulated == simulated)
            and (self.gpu_model is None or self.gpu_model.fullmatch(gpu_model) is not None)
            and (self.instance is None or self.instance.fullmatch(instance) is not None)
        )


class PriceBook(BaseModel):
    """Entries in order of precedence, all in one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: tuple[PriceEntry, ...] = Field(max_length=10_000)
    source: str = Field(default="", exclude=True)
    """Where it was read from; set on loading."""

    @model_validator(mode="after")
    def _is_consistent(self) -> PriceBook:
        seen: set[str] = set()
        for index, entry in enumerate(self.entries):
            if entry.id in seen:
                raise ValueError(f"entries.{index}.id must be unique, got {entry.id!r} twice; rename one")
            seen.add(entry.id)
            if entry.currency != self.currency:
                raise ValueError(
                    f"entries.{index}.currency must be the same in the whole book, got {entry.currency!r} "
                    f"after {self.currency!r}; convert it or keep two books"
                )
        return self

    @property
    def currency(self) -> str:
        """ISO 4217 code; USD for an empty book."""
        return self.entries[0].currency if self.entries else "USD"

    @property
    def prices_instances(self) -> bool:
        """True where any entry is per instance."""
        return any(entry.per is Per.INSTANCE for entry in self.entries)

    def entry_for(
        self, per: Per, *, gpu_model: str, instance: str, simulated: bool, at_ms: int
    ) -> PriceEntry | None:
        """Return the first entry that prices the unit at the time, None where there is none."""
        for entry in self.entries:
            if entry.per is per and entry.fits(
                gpu_model=gpu_model, instance=instance, simulated=simulated, at_ms=at_ms
            ):
                return entry
        return None

    def changes(self, start_ms: int, end_ms: int) -> tuple[int, ...]:
        """Return the instants inside (start, end) at which any price begins or ends, ascending."""
        found = {entry.valid_from for entry in self.entries} | {entry.valid_to for entry in self.entries}
        return tuple(sorted(at for at in found if at is not None and start_ms < at < end_ms))


def load(source: Path | str) -> PriceBook:
    """Return the price book in a file, or in a text with a line break.

    Raises PriceBookError with a line per finding: the key, what must hold, what was given.
    """
    name, documents = read_documents(source, PriceBookError)
    if len(documents) != 1:
        raise PriceBookError(f"{name}: must hold one YAML document with entries, got {len(documents)}")
    return checked(PriceBook, documents[0], name, PriceBookError).model_copy(update={"source": name})


@functools.cache
def built_in() -> PriceBook:
    """Return the price book that ships with the package: dated public list prices, and one for simulated GPUs."""
    text = (resources.files("ninesight_analytics") / "data" / "pricebook.yaml").read_text(encoding="utf-8")
    return load(text).model_copy(update={"source": BUILT_IN})
