"""Errors of the HTTP API and their status codes."""

from __future__ import annotations

from ninesight_query.errors import BusyError, QueryError

__all__ = ["BodyLateError", "BodyTooLargeError", "BusyError", "NotFoundError", "status_of"]


class BodyTooLargeError(QueryError):
    """The request's body is over the cap."""

    kind = "bad_data"


class BodyLateError(QueryError):
    """The request's body did not arrive in time."""

    kind = "timeout"


class NotFoundError(QueryError):
    """There is nothing of this name."""

    kind = "not_found"


_STATUS = {
    "bad_data": 400,
    "not_found": 404,
    "execution": 422,
    "timeout": 503,
    "canceled": 499,
    "unavailable": 503,
}


def status_of(error: Exception) -> tuple[int, str]:
    """Return (HTTP status, Prometheus errorType) of an error."""
    if isinstance(error, BodyTooLargeError):
        return 413, error.kind
    if isinstance(error, BodyLateError):
        return 408, error.kind
    if isinstance(error, QueryError):
        return _STATUS.get(error.kind, 422), error.kind
    return 500, "internal"
