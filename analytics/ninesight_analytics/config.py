"""What a person configures of this part: where the price book and the SLA documents are."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ninesight_analytics.contract import Billing

__all__ = ["AnalyticsConfig"]


class AnalyticsConfig(BaseModel):
    """The `analytics` section of the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_book: Path | None = None
    """A YAML price book. None: the built-in one, dated public list prices; a report then says so."""
    slas: tuple[Path, ...] = Field(default=(), max_length=1000)
    """OpenSLO documents, one or many in each file."""
    billing: Billing = Billing.OBSERVED
    """observed: a unit is billed from its first to its last sample; window: for the whole window once it is seen."""

    def rooted(self, folder: Path) -> AnalyticsConfig:
        """Return the same configuration with relative paths starting at `folder`."""
        book = None if self.price_book is None else folder / self.price_book
        return self.model_copy(
            update={"price_book": book, "slas": tuple(folder / path for path in self.slas)}
        )
