"""What a request may be refused with. Every class carries the HTTP status it becomes.

ServerError
|- InvalidInputError    400  a tensor, shape or datatype is not what the model takes
|- NotFoundError        404  no such model, version or path
|- MethodError          405  the path exists, for another method
|- TooLargeError        413  the body is over the cap
|- InferenceError       500  the model itself failed
|- OverloadedError      503  the queue is full: the request was shed, try again later
|- NotReadyError        503  the model is loading, or the server is draining
`- DeadlineError        504  the answer did not come within the model's timeout
"""

from __future__ import annotations

__all__ = [
    "DeadlineError",
    "InferenceError",
    "InvalidInputError",
    "MethodError",
    "NotFoundError",
    "NotReadyError",
    "OverloadedError",
    "ServerError",
    "TooLargeError",
]


class ServerError(Exception):
    """Base of every error of this part."""

    status = 500
    outcome = "error"
    """What the SDK records for the request."""


class InvalidInputError(ServerError):
    """The request is not what the model takes; the message says what must hold and what was given."""

    status = 400


class NotFoundError(ServerError):
    """There is no such model, version or path."""

    status = 404


class MethodError(ServerError):
    """The path does not take this method."""

    status = 405


class TooLargeError(ServerError):
    """The body is over the cap."""

    status = 413


class InferenceError(ServerError):
    """The model failed on an input it should take."""


class OverloadedError(ServerError):
    """The model's queue is full; the request was not begun and may be sent again."""

    status = 503
    outcome = "shed"


class NotReadyError(ServerError):
    """The model or the server does not take requests now."""

    status = 503
    outcome = "shed"


class DeadlineError(ServerError):
    """The answer did not come in time."""

    status = 504
    outcome = "timeout"
