"""What a call worth keeping leaves: ids, stages, attributes; and the W3C trace context it came with.

traceparent: 00-<32 hex trace id>-<16 hex parent id>-<2 hex flags>      (W3C Trace Context, level 1)
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from ninesight.contract import Labels

__all__ = ["STATUS_CODE", "Kept", "Trace", "new_id", "parse_traceparent", "reseed"]

STATUS_CODE = "http.response.status_code"
"""The attribute under which a middleware tells the status of a request that was refused or failed."""

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_STAGES_MAX = 64
_ATTRIBUTES_MAX = 32

# Seeded by the operating system once a process; not for secrets.
_ids = random.Random()


def new_id(bits: int) -> int:
    """Return a random id, never 0."""
    return _ids.getrandbits(bits) or 1


def reseed() -> None:
    """Have the child of a fork draw other ids than its parent."""
    _ids.seed()


def parse_traceparent(header: str) -> tuple[int, int] | None:
    """Return (trace id, parent id) of a traceparent header; None for one that the standard calls invalid."""
    found = _HEADER.match(header.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, parent_id = int(found[2], 16), int(found[3], 16)
    return (trace_id, parent_id) if trace_id and parent_id else None


class Trace:
    """Notes of one running call. Made only while traces are on, and only for calls that ask or may be kept."""

    __slots__ = ("attributes", "keep", "parent_id", "span_id", "stages", "trace_id")

    def __init__(self, trace_id: int, parent_id: int | None) -> None:
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.span_id = new_id(64)
        self.keep = False
        """True when something inside it was kept: a trace has no holes."""
        self.stages: list[tuple[str, float, float]] = []
        """(name, clock reading at its start, seconds), the first 64."""
        self.attributes: dict[str, str | int | float | bool] = {}

    def note_stage(self, name: str, start_s: float, duration_s: float) -> None:
        """Keep a stage, up to a bound."""
        if len(self.stages) < _STAGES_MAX:
            self.stages.append((name, start_s, duration_s))

    def note(self, key: str, value: object) -> None:
        """Keep an attribute, up to a bound."""
        if key in self.attributes or len(self.attributes) < _ATTRIBUTES_MAX:
            plain = value if isinstance(value, bool | int | float) else str(value)[:1024]
            self.attributes[str(key)[:256]] = plain

    @property
    def traceparent(self) -> str:
        """The header for requests that the call makes itself."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


class Kept(NamedTuple):
    """One call worth a trace. Times are nanoseconds since the Unix epoch."""

    labels: Labels
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    duration_s: float
    outcome: str
    served_by: str
    why: str
    """slow, failed, random, or inner: something inside it was kept."""
    error: str
    """Class of the exception; empty without one. Its words may hold what users sent, so they stay here."""
    tokens: tuple[int, int, int]
    attributes: dict[str, str | int | float | bool]
    stages: tuple[tuple[str, int, float], ...]
    """(name, start, seconds)."""
