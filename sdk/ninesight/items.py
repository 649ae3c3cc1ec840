"""The items of one stream: when the first and the last came, and how many tokens they were."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from ninesight.calls import Call
from ninesight.checks import whole
from ninesight.chunks import Reader, reader_for
from ninesight.judge import Judge

__all__ = ["Items"]


class Items:
    """Told of each item as it is yielded, on the way of the stream: two attributes and a clock reading an item."""

    __slots__ = ("_counted", "_first_s", "_judge", "_last_s", "_reader", "_started", "_tokens", "_usage")

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._reader: Reader | None = None
        self._started = False
        self._counted = judge.tokens is not None
        self._first_s = 0.0
        self._last_s = 0.0
        self._tokens = 0
        self._usage: Mapping[str, object] | None = None

    def take(self, item: Any) -> None:
        """Note one item at the moment it is yielded."""
        now_s = perf_counter()
        if not self._started:
            self._started = True
            self._reader = self._of_judge if self._counted else reader_for(item)
        count = 1
        if self._reader is not None:
            try:
                count, usage = self._reader(item)
            except Exception as error:  # An item of a foreign class may raise on being looked at.
                self._judge.faults.internal("reading a stream's item", error)
                usage = None
            if usage is not None:
                self._usage = usage
        if count:
            if not self._tokens:
                self._first_s = now_s
            self._last_s = now_s
            self._tokens += count

    def tell(self, call: Call) -> None:
        """Hand the stream's pace to its call, unless the call was told of its tokens one by one."""
        if not self._started:
            return
        pace = call.pace
        if self._tokens and pace.to_first_s is None:
            pace.marked(self._first_s, self._last_s, self._tokens)
            pace.counted = self._counted
        if self._usage is not None and pace.silent:
            pace.usage(self._usage)

    def _of_judge(self, item: Any) -> tuple[int, Mapping[str, object] | None]:
        told = self._judge.read(item)
        if isinstance(told, Mapping):
            return 0, told
        return whole(told) or 0, None
