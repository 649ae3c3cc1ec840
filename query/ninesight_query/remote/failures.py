"""What a server's refusal means: HTTP status and `errorType` to the tree in `errors.py`.

errorType                          raised
bad_data                           ParseError (LimitError for too many steps)
execution, 422                     ExecutionError (LimitError for too many samples or series)
timeout                            DeadlineError
canceled, unavailable, 502, 503    UnavailableError
401, 403, 404, 3xx, 429, others    UnavailableError that says which setting to look at
"""

from __future__ import annotations

import re

import orjson

from ninesight_query.errors import (
    DeadlineError,
    ExecutionError,
    LimitError,
    ParseError,
    QueryError,
    UnavailableError,
)

__all__ = ["Refusal", "refusal_of"]

_LIMITS = re.compile(
    r"exceeded maximum resolution|too many (points|samples|time ?series|series|unique)|cannot exceed -search\."
    r"|exceeds? (the )?(max|limit)|would load too many|max-fetched|max-(series|chunks|estimated)",
    re.IGNORECASE,
)
_MESSAGE_LENGTH_MAX = 2_000
_BY_KIND: dict[str, type[QueryError]] = {
    "bad_data": ParseError,
    "execution": ExecutionError,
    "timeout": DeadlineError,
    "canceled": UnavailableError,
    "unavailable": UnavailableError,
    "internal": ExecutionError,
}
_BY_STATUS: dict[int, type[QueryError]] = {400: ParseError, 422: ExecutionError, 500: ExecutionError}
_HINTS = {
    401: "it wants other credentials; look at query.bearer_token, query.username and query.password",
    403: "it does not let these credentials in; look at query.bearer_token, query.username and query.tenant",
    404: "it has no Prometheus API there; look at the path of query.url",
    429: "it is asked too often; try again later, or raise its limit",
}


class Refusal(Exception):  # noqa: N818 - a carrier between client and engine, never seen outside
    """A refusal with what was made of it."""

    def __init__(self, error: QueryError, *, again: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again
        """Whether the same question may be asked again at once."""


def refusal_of(status: int, body: bytes, where: str, location: str = "") -> Refusal:
    """Read a reply that is no success; `where` names the server without any secret."""
    kind, words = _told(body)
    if 300 <= status < 400:
        words = f"{where} redirects to {location[:200] or 'nowhere'}; write the final address to query.url"
        return Refusal(UnavailableError(words), again=False)
    if status in _HINTS:
        return Refusal(UnavailableError(f"{where} answers {status}: {_HINTS[status]}"), again=False)
    error = _BY_KIND.get(kind) or _BY_STATUS.get(status) or UnavailableError
    # Without an envelope the words are a proxy's, or those of something that is no such server.
    if not kind and error is ParseError:
        error = UnavailableError
    if error in (ParseError, ExecutionError) and _LIMITS.search(words):
        error = LimitError
    if error is UnavailableError:
        words = f"{where} answers {status}: {words or 'nothing more'}"
    again = error is UnavailableError and status in (502, 503) and kind != "canceled"
    return Refusal(error(words or f"{where} answers {status} without a word"), again=again)


def _told(body: bytes) -> tuple[str, str]:
    """Return (errorType, message); the start of the text where it is no envelope."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", body[:200].decode("utf-8", "replace").strip()
    if not isinstance(told, dict):
        return "", ""
    return str(told.get("errorType") or ""), str(told.get("error") or "")[:_MESSAGE_LENGTH_MAX]
