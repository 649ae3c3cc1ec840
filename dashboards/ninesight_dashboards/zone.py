"""One time zone for the whole page: axes, tables, tooltips and the header say the same hour.

Charts get wall-clock text without a zone, because the chart library knows only its own browser's (it
shifts plain milliseconds by that). Where a window crosses a change of daylight saving time the offset
changes inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

__all__ = ["Zone", "zone_of"]


@dataclass(frozen=True)
class Zone:
    """A named time zone."""

    name: str
    info: ZoneInfo

    def offset_ms(self, utc_ms: int) -> int:
        """Return wall clock minus UTC at that time, in milliseconds."""
        offset = self._at(utc_ms).utcoffset()
        return 0 if offset is None else round(offset.total_seconds() * 1000)

    def segments(self, start_ms: int, end_ms: int) -> tuple[tuple[int, int], ...]:
        """Return (first UTC millisecond, offset) of each stretch with one offset, to the minute."""
        found = [(start_ms, self.offset_ms(start_ms))]
        step = max(3_600_000, (end_ms - start_ms) // 400)
        left = start_ms
        while left < end_ms:
            right = min(end_ms, left + step)
            if self.offset_ms(right) != found[-1][1]:
                found.append((self._change(left, right), self.offset_ms(right)))
            left = right
        return tuple(found)

    def wall(self, utc_ms: int) -> str:
        """Return wall-clock time with milliseconds, as chart axes take it."""
        return self._at(utc_ms).strftime("%Y-%m-%d %H:%M:%S.") + f"{utc_ms % 1000:03d}"

    def clock(self, utc_ms: int) -> str:
        """Return the time of day, 24 hours, with seconds."""
        return self._at(utc_ms).strftime("%H:%M:%S")

    def stamp(self, utc_ms: int) -> str:
        """Return date and time, ISO order."""
        return self._at(utc_ms).strftime("%Y-%m-%d %H:%M:%S")

    def label(self, utc_ms: int) -> str:
        """Return the name with the offset in force: Europe/Berlin (UTC+2)."""
        minutes = self.offset_ms(utc_ms) // 60_000
        if self.name == "UTC":
            return "UTC"
        sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
        rest = f":{minutes % 60:02d}" if minutes % 60 else ""
        return f"{self.name} (UTC{sign}{minutes // 60}{rest})"

    def _at(self, utc_ms: int) -> datetime:
        return datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(self.info)

    def _change(self, left: int, right: int) -> int:
        """Return the first millisecond of the new offset between two times, to the second."""
        before = self.offset_ms(left)
        while right - left > 1000:
            middle = (left + right) // 2
            if self.offset_ms(middle) == before:
                left = middle
            else:
                right = middle
        return right


def zone_of(name: str) -> Zone:
    """Return the zone of that IANA name; UTC for a name that is unknown."""
    try:
        return Zone(name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return Zone("UTC", ZoneInfo("UTC"))
