"""Which questions are answered fast, judged by how long they took when they were asked last.

    question ──► seen fast, as large or larger ──► tried on the event loop ──► the answer, else ─┐
             └─► anything else ──► a worker's thread, and its time is noted ◄────────────────────┘

Kept by the query's text: pages and rules ask the same texts again and again, at other times. Used on the event loop.
"""

from __future__ import annotations

from collections import OrderedDict

from ninesight_query.at_once import LENGTH_MAX

__all__ = ["FAST_S", "Pace"]

FAST_S = 0.001
"""What took longer than this is not tried on the event loop."""
_TEXTS_MAX = 4_096


class Pace:
    """Texts that were answered fast, the least recently asked dropped first."""

    def __init__(self, *, fast_s: float = FAST_S) -> None:
        self._fast_s = fast_s
        self._steps: OrderedDict[str, int] = OrderedDict()

    def fast_up_to(self, text: str) -> int:
        """Return the most steps for which the question was answered fast before, -1 if it never was."""
        known = self._steps.get(text, -1)
        if known >= 0:
            self._steps.move_to_end(text)
        return known

    def took(self, text: str, steps: int, spent_s: float) -> None:
        """Note how long an answer took."""
        if spent_s > self._fast_s or len(text) > LENGTH_MAX:
            if steps <= self._steps.get(text, -1):
                del self._steps[text]
            return
        self._steps[text] = max(steps, self._steps.get(text, -1))
        self._steps.move_to_end(text)
        if len(self._steps) > _TEXTS_MAX:
            self._steps.popitem(last=False)

    def forget(self, text: str) -> None:
        """Take a text as not fast until it was seen fast again."""
        self._steps.pop(text, None)
