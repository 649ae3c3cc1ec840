"""What a person writes about the pages: the `pages` section of the suite's file."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ninesight_dashboards.contract import PagesSettings
from ninesight_dashboards.errors import PagesConfigError
from ninesight_dashboards.timerange import duration_ms

__all__ = ["PagesConfig"]


class PagesConfig(BaseModel):
    """How the pages look and how often they ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refresh_s: Annotated[float, Field(ge=1, le=3600)] | None = None
    """Seconds between refreshes. None: 5 s for ranges up to 15 minutes, a thousandth of longer ones, at most 5 minutes."""
    default_range: str = "15m"
    """Range of a page whose URL names none: 5m, 15m, 1h, 6h, 24h, 7d, 30d or any duration like these."""
    theme: Literal["auto", "light", "dark"] = "auto"
    """auto follows the browser; a reader's own choice is kept in their browser."""
    time_zone: str = "browser"
    """IANA name used for every axis, table and tooltip; "browser" is the reader's own zone."""
    title: Annotated[str, Field(min_length=1, max_length=60)] = "ninesight"
    """Shown in the header and in the browser's tab."""
    points_max: Annotated[int, Field(ge=60, le=1200)] = 360
    """Most points of a chart; a longer range gets a longer step."""

    @field_validator("default_range")
    @classmethod
    def _range(cls, value: str) -> str:
        span_ms = duration_ms(value)
        if span_ms is None or not 10_000 <= span_ms <= 400 * 86_400_000:
            raise ValueError(
                f"default_range must be a duration between 10s and 400d like 15m or 24h, got {value!r}"
            )
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value != "browser":
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError(
                    f'time_zone must be "browser" or an IANA name like Europe/Berlin, got {value!r}'
                ) from error
        return value

    def settings(self, *, otlp_url: str, api_url: str) -> PagesSettings:
        """Return the settings of the pages. Raises PagesConfigError unless both addresses are http or https."""
        for key, url in (("otlp_url", otlp_url), ("api_url", api_url)):
            if not url.startswith(("http://", "https://")):
                raise PagesConfigError(f"{key} must start with http:// or https://, got {url!r}")
        return PagesSettings(
            otlp_url=otlp_url,
            api_url=api_url,
            refresh_s=self.refresh_s,
            default_from=f"now-{self.default_range}",
            theme=self.theme,
            time_zone=self.time_zone,
            points_max=self.points_max,
            title=self.title,
        )
