"""What a person writes about queries: the `query:` section of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError
from ninesight_query.settings import EngineSettings

__all__ = ["EngineConfig"]


def _duration(text: str) -> str:
    try:
        milliseconds = duration_ms(text)
    except ParseError as error:
        raise ValueError(str(error)) from None
    if milliseconds <= 0:
        raise ValueError(f"a duration must be longer than zero, got {text!r}; write 5m, 1h30m or 250ms")
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class EngineConfig(BaseModel):
    """Limits and switches of the embedded engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lookback: Duration = "5m"
    """How old the newest sample of a series may be and still count. Longer than the scrape interval."""
    deadline: Duration = "2m"
    """Longest evaluation of one query."""
    samples_max: int = Field(default=50_000_000, ge=1_000)
    """Samples one query may load or hold at once (8 to 24 bytes each)."""
    series_max: int = Field(default=200_000, ge=1)
    """Series one selector may match."""
    points_per_series_max: int = Field(default=11_000, ge=1)
    """Steps of a range query."""
    query_length_max: int = Field(default=16_384, ge=1, le=65_536)
    """Characters of a query."""
    delayed_name_removal: bool = False
    """Take metric names away at the end of a query instead of at each function (off in Prometheus too)."""

    def settings(self) -> EngineSettings:
        """Return the same for code."""
        return EngineSettings(
            lookback_ms=duration_ms(self.lookback),
            samples_max=self.samples_max,
            series_max=self.series_max,
            points_per_series_max=self.points_per_series_max,
            query_length_max=self.query_length_max,
            deadline_s=duration_ms(self.deadline) / 1000.0,
            delayed_name_removal=self.delayed_name_removal,
        )
