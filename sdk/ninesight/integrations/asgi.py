"""ASGI middleware: FastAPI, Starlette, Litestar, Quart, LitServe's server ... (ASGI 3.0).

    app.add_middleware(ObserveASGI, model="sentiment", paths=("/predict",))

A request is one call from its first byte to the last byte of the answer; background tasks that the
framework runs afterwards are not in it. Its outcome is told by the status, by an exception, or by the
client going away first. `ninesight.current()` inside the endpoint is this call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any

from ninesight import started
from ninesight.api import RUNTIME
from ninesight.calls import Call, asked
from ninesight.integrations.choosing import EXCLUDED, Chooser, Told
from ninesight.items import Items
from ninesight.judge import Judge
from ninesight.lanes import record_ok
from ninesight.outcomes import outcome_of_status
from ninesight.series import ModelSeries
from ninesight.started import Started

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
        self._follow: Callable[[ModelSeries, Receive, Send], Response] = Response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. Exceptions pass; the call is ended in any case."""
        series = self._chooser.series_of(scope.get("path", ""), scope) if scope["type"] == "http" else None
        if series is None:
            await self._app(scope, receive, send)
            return
        response = self._follow(series, receive, send)
        response.begin(scope)
        try:
            await self._app(scope, response.receive, response.send)
        except BaseException as error:
            response.end(error)
            raise
        if not response.finished:
            response.end()


class Response(Started):
    """Follows one request and its answer, and ends the call with the last byte."""

    __slots__ = ("_gone", "_items", "_receive", "_send", "_token", "chunks", "status")

    def __init__(self, series: ModelSeries, receive: Receive, send: Send) -> None:
        self.series = series
        self.predictions = 1
        self.call: Call | None = None
        self.finished = False
        self.started_at = 0.0
        self.status = 0
        self.chunks = 0
        """Parts of a body that came in parts. A single body is no stream: its first byte tells nothing new."""
        self._receive = receive
        self._send = send
        self._items: Items | None = None
        self._gone = False
        self._token: Any = None

    def begin(self, scope: Scope) -> None:
        """Become the running call of this context; with traces on as an object, that continues the caller's trace."""
        series = self.series
        if series.buffers.keeper is not None:
            self.call = call = Call(series)
            for name, value in scope.get("headers", ()):
                if name == b"traceparent":
                    call.continue_trace(value.decode("latin-1"))
            call.begin()
            return
        try:
            series.local.lane  # noqa: B018
        except AttributeError:
            series.buffers.lane(series)
        series.running.add(self)
        self._token = started.RUNNING.set(self)
        self.started_at = perf_counter()

    async def receive(self) -> Message:
        """Hand on a message from the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.finished:
            self._gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a message to the client; the call ends when the last is sent."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            if (more or self.chunks) and message.get("body"):
                self.chunks += 1
                if self._items is None:
                    self._items = Items(_JUDGE)
                self._items.take(message["body"])
            if not more:
                return self._last(message)
        return self._send(message)

    async def _last(self, message: Message) -> None:
        await self._send(message)
        if not self.finished:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Record the call, once: what the endpoint said of it wins over the status."""
        if self.finished:
            return
        if error is None and self.chunks < 2 and 0 < self.status < 400 and self._token and not self._gone:
            duration_s = perf_counter() - self.started_at
            started.leave(self._token)
            call = started.end(self)
            if call is None:
                record_ok(self.series, duration_s, 1)
                return
        else:
            call = self.said
            self.finished = True
            if self._token:
                started.leave(self._token)
        self._judge(call, error)
        call.end(error)

    @property
    def said(self) -> Call:
        """The call as an object, to say something of it."""
        return asked(self) if self.call is None else self.call

    def _judge(self, call: Call, error: BaseException | None) -> None:
        if self.chunks > 1 and self._items is not None:
            self._items.tell(call)
        if not call.judged:
            if self._gone:
                call.outcome("cancelled")
            elif error is None and self.status:
                call.outcome(outcome_of_status(self.status))
            elif error is None:
                call.outcome("error")
