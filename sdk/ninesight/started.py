"""A call that runs and that nobody has asked for: what the context holds of it, and no more.

Most calls begin and end without a word about themselves. They cost four attributes; `ninesight.current()`
makes a `Call` of one (see `calls.running_call`), and from then on that is what is recorded.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.series import ModelSeries

__all__ = ["RUNNING", "Started", "end", "leave"]


class Started:
    """In flight exactly while it is in `series.running`: whoever removes it decides what becomes of it.

    The one that ends it records a plain duration; the one that makes a `Call` of it puts the call in its place.
    """

    __slots__ = ("call", "finished", "predictions", "series", "started_at")

    def __init__(self, series: ModelSeries, predictions: int = 1) -> None:
        self.series = series
        self.predictions = predictions
        self.call: Call | None = None
        """The call as an object, once somebody asked for it."""
        self.finished = False
        self.started_at = 0.0
        """Clock reading at entry, in seconds of `time.perf_counter`."""


RUNNING: ContextVar[Call | Started | None] = ContextVar("ninesight_call", default=None)
"""The innermost call of this context that is not a plain one."""


def end(started: Started) -> Call | None:
    """Take a call out of flight; return the object that records it, None where it is a plain duration."""
    started.finished = True
    try:
        started.series.running.remove(started)
    except KeyError:  # Somebody asked for it; or the child of a fork ends what its parent began.
        return started.call
    return None


def leave(token: Token[Call | Started | None]) -> None:
    """Give the context back its outer call."""
    try:  # noqa: SIM105 - contextlib.suppress costs more than the reset itself.
        RUNNING.reset(token)
    except ValueError:
        # Left in another context than entered; a finished call is not found there either.
        pass
