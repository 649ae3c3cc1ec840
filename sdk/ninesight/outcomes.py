"""Which outcome an exception or an HTTP status stands for; users may add their own exceptions."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ninesight.contract import Outcome
from ninesight.errors import ConfigError

__all__ = ["Outcomes", "checked_outcomes", "outcome_of_status"]

OutcomeMap = Mapping[type[BaseException], str]

_WORDS = frozenset(map(str, Outcome))


def outcome_of_status(status: int) -> str:
    """Return the outcome of an HTTP status: 429 and 503 shed, 408 and 504 timeout, 499 cancelled, 4xx and 5xx error."""
    if status < 400:
        return "ok"
    if status in {429, 503}:
        return "shed"
    if status in {408, 504}:
        return "timeout"
    return "cancelled" if status == 499 else "error"


def checked_outcomes(given: OutcomeMap | None) -> dict[type[BaseException], str]:
    """Return the mapping as a dict. Raises ConfigError for a key that is no exception or a word that is no outcome."""
    found = {}
    for kind, word in dict(given or {}).items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)) or word not in _WORDS:
            raise ConfigError(
                f"outcomes must map exception classes to one of {', '.join(Outcome)}, got {kind!r}: {word!r}; "
                "write e.g. {QueueFull: 'shed'}"
            )
        found[kind] = str(word)
    return found


class Outcomes:
    """Judges exceptions. The nearest base class named by the user wins, then the usual rule."""

    __slots__ = ("named",)

    def __init__(self) -> None:
        self.named: dict[type[BaseException], str] = {}

    def of(self, error: BaseException | None, more: Mapping[type[BaseException], str] | None = None) -> str:
        """Return the outcome an exception stands for; ok without one. `more` wins over what the process named."""
        if error is None:
            return "ok"
        for named in (more, self.named):
            if named:
                for kind in type(error).__mro__:
                    if kind in named:
                        return named[kind]
        if isinstance(error, BaseExceptionGroup):
            # What a task group raises: where all of its tasks ended alike, so did the call.
            found = {self.of(each, more) for each in error.exceptions}
            return found.pop() if len(found) == 1 else "error"
        return _usual(error)


def _usual(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, GeneratorExit):
        return "cancelled"
    # asyncio costs 50 ms to import; whoever raises its CancelledError has imported it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(error, asyncio.CancelledError):
        return "cancelled"
    futures = sys.modules.get("concurrent.futures")
    if futures is not None and isinstance(error, futures.CancelledError):
        return "cancelled"
    # HTTP errors of web frameworks carry their status (Starlette, FastAPI, LitServe: status_code).
    status = getattr(error, "status_code", None)
    return outcome_of_status(status) if type(status) is int and status >= 400 else "error"
