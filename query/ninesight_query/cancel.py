"""Stopping a query that nobody waits for any more.

    gone = threading.Event()
    with cancelling(gone):                  # in the thread that asks
        engine.range(query, ...)            # raises QueryCancelledError soon after gone.set()

The engine looks beside its deadline: between nodes of the tree, between tiles of series, while it waits
for a place. The switch is a context variable, so it holds for one thread (or task) and nests; the inner
one does not hide the outer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

__all__ = ["Cancelled", "cancelled_now", "cancelling", "never"]

Cancelled = Callable[[], bool]
"""Says whether the answer is no longer wanted. Called often, from the evaluating thread: cheap, never raises."""


def never() -> bool:
    """Say that the answer is wanted."""
    return False


_CURRENT: ContextVar[Cancelled] = ContextVar("ninesight_query_cancelled", default=never)


@contextmanager
def cancelling(cancelled: Event | Cancelled) -> Iterator[None]:
    """Let what is asked inside end with QueryCancelledError once the event is set, or the callable says True."""
    inner: Cancelled = cancelled.is_set if isinstance(cancelled, Event) else cancelled
    outer = _CURRENT.get()
    token = _CURRENT.set(inner if outer is never else lambda: inner() or outer())
    try:
        yield
    finally:
        _CURRENT.reset(token)


cancelled_now: Callable[[], Cancelled] = _CURRENT.get
"""Returns the check in force for this thread."""
