"""ASGI middleware: FastAPI, Starlette, Litestar, Quart, LitServe's server ... (ASGI 3.0).

    app.add_middleware(ObserveASGI, model="sentiment", paths=("/predict",))

A request is one call from its first byte to the last byte of the answer; background tasks that the
framework runs afterwards are not in it. Its outcome is told by the status, by an exception, or by the
client going away first. `ninesight.current()` inside the endpoint is this call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from ninesight.api import RUNTIME
from ninesight.calls import Call
from ninesight.integrations.choosing import EXCLUDED, Chooser, Told
from ninesight.items import Items
from ninesight.judge import Judge
from ninesight.outcomes import outcome_of_status

__all__ = ["ObserveASGI", "Response"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


_JUDGE = Judge(RUNTIME.faults)


class ObserveASGI:
    """Wraps an app. `model`, `version` and each of `labels` may be functions of the ASGI scope; None is not observed."""

    def __init__(
        self,
        app: App,
        *,
        model: Told,
        version: Told = "1",
        labels: Mapping[str, Told] | None = None,
        paths: Sequence[str] = ("/",),
        excluded: Sequence[str] = EXCLUDED,
    ) -> None:
        self._app = app
        self._chooser = Chooser(model=model, version=version, labels=labels, paths=paths, excluded=excluded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        call = self._chooser.call_of(scope.get("path", ""), scope) if scope["type"] == "http" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        if call.series.buffers.keeper is not None:
            for name, value in scope.get("headers", ()):
                if name == b"traceparent":
                    call.continue_trace(value.decode("latin-1"))
        await observe(self._app, scope, receive, send, self.response(call))

    def response(self, call: Call) -> Response:
        """Return what follows the answer of a call."""
        return Response(call)


class Response:
    """Follows one request and its answer, and ends the call with the last byte."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.status = 0
        self.chunks = 0
        """Parts of a body that came in parts. A single body is no stream: its first byte tells nothing new."""
        self._items: Items | None = None
        self._gone = False

    def asked(self, message: Message) -> None:
        """Look at a message from the client."""
        if message["type"] == "http.disconnect" and not self.call.finished:
            self._gone = True

    def answered(self, message: Message) -> bool:
        """Look at a message to the client; True for the last one."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return False
        if message["type"] != "http.response.body":
            return False
        more: bool = message.get("more_body", False)
        if (more or self.chunks) and message.get("body"):
            self.chunks += 1
            if self._items is None:
                self._items = Items(_JUDGE)
            self._items.take(message["body"])
        return not more

    def end(self, error: BaseException | None = None) -> None:
        """Record the call, once: what the endpoint said of it wins over the status."""
        if self.call.finished:
            return
        if self.chunks > 1 and self._items is not None:
            self._items.tell(self.call)
        if not self.call.judged:
            if self._gone:
                self.call.outcome("cancelled")
            elif error is None and self.status:
                self.call.outcome(outcome_of_status(self.status))
            elif error is None:
                self.call.outcome("error")
        self.call.end(error)


async def observe(app: App, scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Run the app with its messages looked at. Exceptions pass; the call is ended in any case."""

    async def asked() -> Message:
        message = await receive()
        response.asked(message)
        return message

    async def answered(message: Message) -> None:
        last = response.answered(message)
        await send(message)
        if last:
            response.end()

    response.call.begin()
    try:
        await app(scope, asked, answered)
    except BaseException as error:
        response.end(error)
        raise
    response.end()
