"""Calls that run and that nobody has asked for: an entry in a dict each, and no object of ours.

The context holds the call's *mark*: the coroutine that runs, or the middleware's answer. Under the mark's
id, `Flights.started` says what is counted and since when; a mark without an entry has finished. Only
`ninesight.current()` makes a `Call` of one:

    begin ── started[id(mark)] = (point, start) ── end: entry removed; nobody asked: one plain duration
                    └── current(): asked[id(mark)] = Call ──────────── asked: the Call is recorded

No id is reused meanwhile: the frame that made the entry holds the mark until it has removed it.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ninesight.pickled import shared

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.slots import Point

__all__ = ["RUNNING", "Flights", "leave"]

RUNNING: ContextVar[Any] = ContextVar("ninesight_call", default=None)
"""The innermost call of this context that is not a plain one: a `Call`, or a mark."""


class Flights:
    """What a request looks at when it begins and ends, side by side: its caches are cold, and each place costs."""

    __slots__ = ("asked", "get", "mark_type", "set", "started", "swift")

    def __init__(self) -> None:
        self.swift = False
        """True when a call need not look after anything at its start: our threads run, and no traces are kept."""
        self.started: dict[int, tuple[Point, float]] = {}
        """(point, clock reading at entry) by the mark's id."""
        self.asked: dict[int, Call] = {}
        """Objects of those that somebody asked for."""
        self.get = RUNNING.get
        self.set = RUNNING.set
        self.mark_type = CoroutineType
        """Of these there is one for each call, and it lives as long."""

    def __reduce__(self) -> tuple[Any, ...]:
        return shared, ("flights",)

    def end(self, mark: int) -> Call | None:
        """Take a call out of flight; return the object that records it, None where it is a plain duration."""
        # Absent in the child of a fork, that ends what its parent began.
        self.started.pop(mark, None)
        # In this order: who asks looks at `started` last (see `calls.asked`).
        return self.asked.pop(mark, None)

    def clear(self) -> None:
        """Forget all. For the child after a fork."""
        self.swift = False
        self.started.clear()
        self.asked.clear()


def leave(token: Token[Any]) -> None:
    """Give the context back its outer call."""
    try:  # noqa: SIM105 - contextlib.suppress costs more than the reset itself.
        RUNNING.reset(token)
    except ValueError:
        # Left in another context than entered; a finished call is not found there either.
        pass
