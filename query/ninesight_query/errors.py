"""What a query may raise.

QueryError             .kind is the `errorType` of the Prometheus HTTP API
|- ParseError          bad_data: the text is no PromQL, or a parameter is wrong
|- ExecutionError      execution: the query is valid but cannot be answered on this data
|- LimitError          execution: it would load or return more than is allowed
|- DeadlineError       timeout: it ran longer than its deadline
|- QueryCancelledError canceled: nobody waits for it any more
|- NotAtOnceError      execution: what it reads is not at hand; never leaves an engine
`- UnavailableError    unavailable: the engine behind cannot be reached
   `- BusyError        unavailable: as many queries run and wait as are allowed
"""

from __future__ import annotations

__all__ = [
    "BusyError",
    "DeadlineError",
    "ExecutionError",
    "LimitError",
    "NotAtOnceError",
    "ParseError",
    "QueryCancelledError",
    "QueryError",
    "UnavailableError",
]


class QueryError(Exception):
    """Base of every error of this part."""

    kind = "execution"


class ParseError(QueryError):
    """The text is not valid PromQL, or a parameter has a wrong form."""

    kind = "bad_data"


class ExecutionError(QueryError):
    """The query is valid, but this data has no answer (many-to-many matching, say)."""


class LimitError(QueryError):
    """The query needs more samples, series or points than allowed; the message says which and how many."""


class DeadlineError(QueryError):
    """The query ran past its deadline."""

    kind = "timeout"


class QueryCancelledError(QueryError):
    """Who asked does not wait for the answer any more (`cancelling`)."""

    kind = "canceled"


class NotAtOnceError(QueryError):
    """What the query reads is not at hand, and who asks does not wait; never leaves an engine."""


class UnavailableError(QueryError):
    """The engine behind cannot be reached; the same query may succeed later."""

    kind = "unavailable"


class BusyError(UnavailableError):
    """As many queries run and wait as are allowed."""
