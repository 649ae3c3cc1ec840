"""Applications that answer some requests without a task: their server asks `at_once` before it calls them.

    request ──► app.at_once(scope) ──► the reply, written where the request was read
            └─► None ──► app(scope, receive, send) in a task, as ever

What stands around an application checks first and passes the question on. Where it would refuse it says None, so
that it refuses, and counts, when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from starlette.responses import Response
from starlette.types import ASGIApp, Scope

__all__ = ["AskAtOnce", "PromptApp", "at_once_of"]


@runtime_checkable
class PromptApp(Protocol):
    """An ASGI application that may be asked outside of a task, too."""

    def at_once(self, scope: Scope) -> Response | None:
        """Return the reply to a GET if it is there within about a millisecond, else None.

        Called on the event loop, once a request at most; never waits. After None, or after raising, the application
        is called with the same scope, which may hold what was learnt. The reply is whole: its body is bytes, its
        headers are valid and tell the length, nothing runs after it, and it leaves the connection to the server.
        """


AskAtOnce = Callable[[Scope], Response | None]


def at_once_of(app: ASGIApp) -> AskAtOnce:
    """Return how to ask an application; one that cannot be asked has nothing at once."""
    return app.at_once if isinstance(app, PromptApp) else _nothing


def _nothing(_: Scope) -> None:
    return None
