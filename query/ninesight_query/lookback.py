"""Another lookback for one question, as `lookback_delta` of the HTTP API asks for it.

    with looking_back(60_000):              # in the thread that asks
        engine.instant("up", at_ms)

A context variable, so it holds for one thread (or task); the inner one wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

__all__ = ["lookback_now", "looking_back"]

_CURRENT: ContextVar[int | None] = ContextVar("ninesight_query_lookback_ms", default=None)


_AS_EVER: AbstractContextManager[None] = nullcontext()


def looking_back(lookback_ms: int | None) -> AbstractContextManager[None]:
    """Let what is asked inside look back this many milliseconds (above 0); None changes nothing."""
    return _AS_EVER if lookback_ms is None else _looking_back(lookback_ms)


@contextmanager
def _looking_back(lookback_ms: int) -> Iterator[None]:
    token = _CURRENT.set(lookback_ms)
    try:
        yield
    finally:
        _CURRENT.reset(token)


lookback_now: Callable[[], int | None] = _CURRENT.get
"""Returns the lookback asked for in this thread, None for the engine's own."""
