"""ASGI middleware: FastAPI, Starlette, Litestar, Quart, LitServe's server ... (ASGI 3.0).

    app.add_middleware(ObserveASGI, model="sentiment", paths=("/predict",))

A request is one call from its first byte to the last byte of the answer; background tasks that the
framework runs afterwards are not in it. Its outcome is told by the status, by an exception, or by the
client going away first. `ninesight.current()` inside the endpoint is this call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import Token
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
        self._known = self._chooser.known
        self._follow: Callable[[ModelSeries, Receive, Send], Response] = Response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. Exceptions pass; the call is ended in any case."""
        series = None
        if scope["type"] == "http":
            path = scope.get("path", "")
            series = self._known.get(path)
            if series is None or not series.buffers.recording:
                series = self._chooser.series_of(path, scope)
        if series is None:
            await self._app(scope, receive, send)
            return
        response = self._follow(series, receive, send)
        if series.buffers.swift:
            series.running.add(response)
            response.token = started.RUNNING.set(response)
            response.started_at = perf_counter()
        else:
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

    __slots__ = ("_gone", "_items", "_receive", "_send", "chunks", "status", "token")

    def __init__(self, series: ModelSeries, receive: Receive, send: Send) -> None:
        self.series = series
        self.predictions = 1
        self.call: Call | None = None
        self.finished = False
        self.status = 0
        self.chunks = 0
        """Parts of a body that came in parts. A single body is no stream: its first byte tells nothing new."""
        self._receive = receive
        self._send = send
        self._items: Items | None = None
        self._gone = False

    def begin(self, scope: Scope) -> None:
        """Begin as an object: the first of a process, and all while traces are on; the caller's trace is continued."""
        self.token: Token[Any] | None = None
        self.started_at = 0.0
        self.call = call = Call(self.series)
        if self.series.buffers.keeper is not None:
            for name, value in scope.get("headers", ()):
                if name == b"traceparent":
                    call.continue_trace(value.decode("latin-1"))
        call.begin()

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
        if self.chunks > 1 or not self.token or self.finished or self._gone or not 0 < self.status < 400:
            self.end()
            return
        duration_s = perf_counter() - self.started_at
        # As `started.leave` and `started.end`, without their frames.
        try:  # noqa: SIM105 - contextlib.suppress costs more than the reset itself.
            started.RUNNING.reset(self.token)
        except ValueError:
            pass
        self.finished = True
        series = self.series
        try:
            series.running.remove(self)
        except KeyError:
            if self.call is not None:
                self._tell(self.call, None)
                return
        record_ok(series, duration_s, 1)

    def end(self, error: BaseException | None = None) -> None:
        """Record the call, once: what the endpoint said of it wins over the status."""
        if self.finished:
            return
        call = self.said
        self.finished = True
        if self.token:
            started.leave(self.token)
        self._tell(call, error)

    @property
    def said(self) -> Call:
        """The call as an object, to say something of it."""
        return asked(self) if self.call is None else self.call

    def _tell(self, call: Call, error: BaseException | None) -> None:
        if self.chunks > 1 and self._items is not None:
            self._items.tell(call)
        if not call.judged:
            if self._gone:
                call.outcome("cancelled")
            elif error is None and self.status:
                call.outcome(outcome_of_status(self.status))
            elif error is None:
                call.outcome("error")
        call.end(error)
