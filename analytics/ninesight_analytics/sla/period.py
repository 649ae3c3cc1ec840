"""The time an SLA is judged over: rolling, or a calendar month in the contract's time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ninesight_analytics.contract import Window

__all__ = ["DAY_MS", "Period", "openslo_duration_ms"]

DAY_MS = 86_400_000
_UNITS_MS = {
    "m": 60_000,
    "h": 3_600_000,
    "d": DAY_MS,
    "w": 7 * DAY_MS,
    # As OpenSLO's own library reads them where the window rolls.
    "M": 30 * DAY_MS,
    "Q": 90 * DAY_MS,
    "Y": 365 * DAY_MS,
}


def openslo_duration_ms(text: str) -> int:
    """Return an OpenSLO duration: a positive whole number and one of m h d w M Q Y (m minutes, M months).

    Raises ValueError.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhdwMQY])", text)
    if match is None:
        raise ValueError(
            f"must be a whole number and one of m (minutes), h, d, w, M (months), Q, Y, got {text!r}; write 30d"
        )
    return int(match[1]) * _UNITS_MS[match[2]]


@dataclass(frozen=True, slots=True)
class Period:
    """A rolling span, or the current calendar month in `zone`."""

    text: str
    """As written: "30d", "1M"."""
    length_ms: int
    """The span; nominal (30 days) for a calendar month."""
    zone: str | None = None
    """IANA name: the calendar month there. None: rolling."""

    def window(self, now_ms: int) -> Window:
        """Return the window as of now. At the very first instant of a month it is the month before.

        Bounds are instants: a month with a change of clocks is an hour shorter or longer.
        """
        if self.zone is None:
            return Window(now_ms - self.length_ms, now_ms)
        zone = ZoneInfo(self.zone)
        start_ms = _month_start_ms(datetime.fromtimestamp(now_ms / 1000, zone), zone)
        if start_ms >= now_ms:
            start_ms = _month_start_ms(datetime.fromtimestamp((now_ms - 1) / 1000, zone), zone)
        return Window(start_ms, now_ms)


def _month_start_ms(moment: datetime, zone: ZoneInfo) -> int:
    start = datetime(moment.year, moment.month, 1, tzinfo=zone)
    return round(start.astimezone(UTC).timestamp() * 1000)
