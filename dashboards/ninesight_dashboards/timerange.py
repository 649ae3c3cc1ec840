"""The time range of a page: what the URL says, what it means now, and the grid charts are drawn on.

`?from=now-15m&to=now` is live, `?from=1790000000000&to=1790000600000` (milliseconds) or ISO 8601 is
fixed. A field that cannot be read falls back to the default and is mentioned; a URL never makes an error page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode

__all__ = ["PRESETS", "Grid", "TimeRange", "duration_ms", "grid_of", "read_range", "write_range"]

PRESETS = ("5m", "15m", "1h", "6h", "24h", "7d", "30d")
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(?:(\d{1,6})([smhdw]))")
_RELATIVE = re.compile(r"now(?:-((?:\d{1,6}[smhdw])+))?")
_SPAN_MS_MIN = 10_000
_SPAN_MS_MAX = 400 * 86_400_000
_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800)
_LONG_MS, _LONG_STEP_S = 2 * 86_400_000, 900
"""Ranges from here on step by multiples of so many seconds: all round steps above it are."""
_EPOCH_MS_MAX = 4_102_444_800_000
"""2100-01-01: what lies beyond is a typing error."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range as asked for and as it stands now."""

    from_text: str
    """As in the URL, canonical."""
    to_text: str
    start_ms: int
    end_ms: int
    notes: tuple[str, ...] = ()
    """What of the URL could not be read, in words."""

    @property
    def live(self) -> bool:
        """True where the range ends now and moves."""
        return self.to_text == "now"

    @property
    def preset(self) -> str | None:
        """The preset it is, None if it is none."""
        text = self.from_text.removeprefix("now-")
        return text if self.live and text in PRESETS else None

    @property
    def span_ms(self) -> int:
        """Length in milliseconds."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Grid:
    """Steps start, start + step, ... end, aligned to multiples of the step so that browsers share answers."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def points(self) -> int:
        """How many steps there are."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    @property
    def rate_window_s(self) -> int:
        """Look-back of rate(): one step, at least a minute, so that no sample falls between two steps."""
        return max(60, self.step_ms // 1000)


def duration_ms(text: str) -> int | None:
    """Return the milliseconds of "15m" or "1h30m", None if it is no duration."""
    if not text or _DURATION.sub("", text):
        return None
    return sum(int(count) * _UNITS_MS[unit] for count, unit in _DURATION.findall(text))


def _moment(text: str, now_ms: int) -> tuple[str, int] | None:
    """Return (canonical text, milliseconds) of one end of a range, None if it cannot be read."""
    text = text.strip()
    if match := _RELATIVE.fullmatch(text):
        back = match.group(1)
        return (text, now_ms - (duration_ms(back) or 0)) if back else ("now", now_ms)
    if text.isascii() and text.isdigit() and len(text) <= 15:
        moment_ms = int(text)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        moment_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 < moment_ms <= _EPOCH_MS_MAX:
        return None
    return str(moment_ms), moment_ms


def read_range(search: str, *, now_ms: int, default_from: str = "now-15m") -> TimeRange:
    """Read `?from=...&to=...`. Never raises: what cannot be read becomes the default, with a note."""
    fields = parse_qs(search[:2000].removeprefix("?"))
    notes: list[str] = []
    start = _field(fields, "from", default_from, now_ms, notes)
    end = _field(fields, "to", "now", now_ms, notes)
    span = end[1] - start[1]
    if not _SPAN_MS_MIN <= span <= _SPAN_MS_MAX:
        notes.append(f"a range must be 10 s to 400 d long and run forward; showing {default_from} to now")
        start, end = _moment(default_from, now_ms) or ("now-15m", now_ms - 900_000), ("now", now_ms)
    return TimeRange(start[0], end[0], start[1], end[1], tuple(notes))


def _field(
    fields: dict[str, list[str]], name: str, default: str, now_ms: int, notes: list[str]
) -> tuple[str, int]:
    fallback = _moment(default, now_ms) or ("now", now_ms)
    given = fields.get(name, [""])[-1]
    if not given:
        return fallback
    moment = _moment(given, now_ms)
    if moment is None:
        notes.append(
            f"{name} must be now, now-15m, milliseconds or ISO 8601, got {given[:40]!r}; using {default}"
        )
        return fallback
    return moment


def write_range(chosen: TimeRange, *, default_from: str = "now-15m") -> str:
    """Return the URL's search part; the default range is not written."""
    if chosen.from_text == default_from and chosen.to_text == "now":
        return ""
    return "?" + urlencode({"from": chosen.from_text, "to": chosen.to_text})


def grid_of(chosen: TimeRange, *, points_max: int = 360) -> Grid:
    """Return the grid of a range: the smallest round step that needs at most `points_max` points.

    Ranges of days step by whole quarters of an hour, which the engine answers without reading every sample.
    """
    wanted_s = chosen.span_ms / 1000 / points_max
    if chosen.span_ms >= _LONG_MS:
        wanted_s = max(wanted_s, _LONG_STEP_S)
    step_ms = 1000 * next((step for step in _STEPS_S if step >= wanted_s), _STEPS_S[-1])
    end_ms = chosen.end_ms // step_ms * step_ms
    start_ms = -(-chosen.start_ms // step_ms) * step_ms
    return Grid(min(start_ms, end_ms), end_ms, step_ms)
