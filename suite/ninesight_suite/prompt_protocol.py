"""A reply that is there at once is written where its request was read: no task, no coroutines, no messages.

bytes ──► parser ──► app.at_once(scope) ──► reply ──► one write
                 └─► None ──► a task, as uvicorn makes it
"""

from __future__ import annotations

from typing import Any, cast

from ninesight_query.http import at_once_of
from starlette.responses import Response
from starlette.types import ASGIApp, Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from ninesight_suite.one_write import OneWriteProtocol

__all__ = ["PromptProtocol"]


class PromptProtocol(OneWriteProtocol):
    """uvicorn's protocol for a `PromptApp`; any other application is served as ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn's own protocol takes."""
        super().__init__(*args, **kwargs)
        # Not `loaded_app`: what uvicorn puts around an application only tells it who asks behind a proxy.
        self._at_once = at_once_of(cast("ASGIApp", self.config.app))
        self._may_answer = False

    def data_received(self, data: bytes) -> None:
        """Answer one request of a piece at most: who sends many in a row takes turns with the others, by tasks."""
        # A log of accesses is written by tasks.
        self._may_answer = not self.config.access_log
        super().data_received(data)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer at once, or make the task. uvicorn comes here once all requests before are answered."""
        may_answer, self._may_answer = self._may_answer, False
        # Too many connections are another application's business.
        if may_answer and app is self.app and self._answered(cycle):
            return
        if self.transport.is_closing():
            # It came behind a request that was to be the last one, in the same piece.
            cycle.response_complete = True
            return
        super()._start_asgi_task(cycle, app)

    def _answered(self, cycle: RequestResponseCycle) -> bool:
        scope = cast("Scope", cycle.scope)
        if scope["method"] != "GET" or cycle.waiting_for_100_continue or self.flow.write_paused:
            return False
        try:
            reply = self._at_once(scope)
            if reply is None:
                return False
            written = _written(reply, cycle)
        except Exception:
            self.logger.exception("answering %s at once", scope["path"])
            return False
        self.gathered.write_now(written)
        # From here on it is as after any reply: a body that follows is passed over, the connection waits or ends.
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        return True


def _written(reply: Response, cycle: RequestResponseCycle) -> bytes:
    """Return a whole reply as `cycle.send` would write it."""
    headers = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *reply.raw_headers)]
    if not cycle.keep_alive:
        headers.append(b"connection: close\r\n")
    return b"".join((STATUS_LINE[reply.status_code], *headers, b"\r\n", reply.body))
