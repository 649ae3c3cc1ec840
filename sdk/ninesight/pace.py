"""Tokens of one call: how many, when the first came, and how fast the others followed.

    begin ── time to first token ──► first ── (last - first) / (tokens - 1) ──► last

What a server tells of its tokens (`add`, a usage object) wins over what was counted from items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ninesight.checks import whole
from ninesight.events import TOKENS

if TYPE_CHECKING:
    from ninesight.series import ModelSeries
    from ninesight.slots import Event

__all__ = ["Pace"]


class Pace:
    """Counts one call's tokens. Owned by whoever runs the call; clock readings are `perf_counter` seconds."""

    __slots__ = ("_begin_s", "_first_s", "_last_s", "_marked", "_told", "counted")

    def __init__(self, begin_s: float) -> None:
        self._begin_s = begin_s
        self._first_s = 0.0
        self._last_s = 0.0
        self._marked = 0
        self._told = (0, 0, 0)
        self.counted = False
        """True when the marks count tokens, not merely items of a stream."""

    def mark(self, now_s: float, count: int = 1) -> None:
        """Note that `count` output tokens were given at this moment."""
        if count <= 0:
            return
        if not self._marked:
            self._first_s = now_s
        self._last_s = now_s
        self._marked += count

    def marked(self, first_s: float, last_s: float, count: int) -> None:
        """Note the first and the last moment of `count` marks at once."""
        self._first_s, self._last_s, self._marked = first_s, last_s, count

    def add(self, read: int, written: int, cached: int) -> None:
        """Add tokens that the server tells of."""
        told = self._told
        self._told = (told[0] + read, told[1] + written, told[2] + cached)

    def usage(self, usage: Mapping[str, object]) -> None:
        """Take {input, output, cached} as the whole truth about this call, so far."""
        counts = [whole(usage.get(name, 0)) or 0 for name in ("input", "output", "cached")]
        self._told = (counts[0], counts[1], counts[2])

    @property
    def silent(self) -> bool:
        """True while the server has told of no tokens itself."""
        return not any(self._told)

    @property
    def told(self) -> tuple[int, int, int]:
        """Tokens (input, output, cached): as told, else as counted."""
        read, written, cached = self._told
        if not written and self.counted:
            written = self._marked
        return read, written, cached

    @property
    def to_first_s(self) -> float | None:
        """Seconds from the beginning to the first token; None without one."""
        return self._first_s - self._begin_s if self._marked else None

    @property
    def per_token_s(self) -> float | None:
        """Mean seconds from one output token to the next; None for fewer than two moments."""
        count = self._told[1] or self._marked
        if count < 2 or self._last_s <= self._first_s:
            return None
        return (self._last_s - self._first_s) / (count - 1)

    def event(self, series: ModelSeries) -> Event:
        """Return what the aggregator is told."""
        return (TOKENS, series, self.told, self.to_first_s, self.per_token_s)
