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

from ninesight.api import RUNTIME
from ninesight.calls import Call, asked
from ninesight.integrations.choosing import EXCLUDED, Chooser, Told
from ninesight.items import Items
from ninesight.judge import Judge
from ninesight.lanes import record_ok
from ninesight.outcomes import outcome_of_status
from ninesight.slots import Point
from ninesight.started import leave
from ninesight.traces import STATUS_CODE

__all__ = ["ObserveASGI", "Response"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


_JUDGE = Judge(RUNTIME.faults)
_FLIGHTS = RUNTIME.flights


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
        self._flights = RUNTIME.flights
        self._follow: type[Response] = Response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. Exceptions pass; the call is ended in any case."""
        flights = self._flights
        point = None
        if scope["type"] == "http":
            path = scope.get("path", "")
            point = self._known.get(path)
            if point is None or not flights.swift:
                point = self._chooser.point_of(path, scope)
        if point is None:
            await self._app(scope, receive, send)
            return
        response = self._follow()
        response.point = point
        response.status = 0
        response.odd = response.ended = False
        response.hand_on = send
        response.ask = receive
        if flights.swift:
            response.mark = mark = id(response)
            response.started_at = start = perf_counter()
            flights.started[mark] = (point, start)
            outer = flights.get()
            token = flights.set(response)
            # Without an outer call nothing is put back: what the context keeps has finished, and is passed over.
            response.token = None if outer is None else token
        else:
            response.begin(scope)
        try:
            await self._app(scope, response.receive, response.send)
        except BaseException as error:
            response.end(error)
            raise
        if not response.ended:
            response.end()


class Response:
    """Follows one request and its answer, and ends the call with the last byte. The mark of its call (see `started`)."""

    __slots__ = (
        "ask", "call", "chunks", "ended", "gone", "hand_on", "items", "mark", "odd", "point", "started_at",
        "status", "token",
    )  # fmt: skip

    point: Point
    status: int
    """Of the answer; 0 before it begins."""
    mark: int
    ended: bool
    odd: bool
    """True once there is more to tell than a duration; from then on there are `call`, `chunks`, `items` and `gone`."""
    call: Call | None
    """The call, where it was an object from the start."""
    chunks: int
    """Parts of a body that came in parts. A single body is no stream: its first byte tells nothing new."""
    items: Items | None
    gone: bool
    token: Token[Any] | None
    started_at: float
    hand_on: Send
    ask: Receive

    def begin(self, scope: Scope) -> None:
        """Begin as an object: the first of a process, and all while traces are on; the caller's trace is continued."""
        self._turn_odd()
        self.mark = id(self)
        self.token = None
        self.call = call = Call(self.point.series)
        if self.point.series.buffers.keeper is not None:
            for name, value in scope.get("headers", ()):
                if name == b"traceparent":
                    call.continue_trace(value.decode("latin-1"))
        call.begin()
        self.started_at = call.started_at

    async def receive(self) -> Message:
        """Hand on a message from the client."""
        message = await self.ask()
        if message["type"] == "http.disconnect" and not self.ended:
            self._turn_odd()
            self.gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a message to the client; the call ends when the last is sent."""
        kind = message["type"]
        if kind == "http.response.body":
            if "more_body" not in message or not message["more_body"]:
                return self._last(message)
            self._take(message)
        elif kind == "http.response.start":
            self.status = message["status"]
        return self.hand_on(message)

    async def _last(self, message: Message) -> None:
        if self.odd and self.chunks:
            self._take(message)
        await self.hand_on(message)
        if self.odd or not 0 < self.status < 400:
            self.end()
            return
        duration_s = perf_counter() - self.started_at
        self.ended = True
        if self.token is not None:
            leave(self.token)
        flights = _FLIGHTS
        flights.started.pop(self.mark, None)  # As `Flights.end`, without its frame.
        if flights.asked and (call := flights.asked.pop(self.mark, None)) is not None:
            self._turn_odd()
            self._tell(call, None)
            return
        lane = self.point.series.lane
        values = lane.values
        if len(values) < lane.limit:
            values.append(duration_s)
        else:
            record_ok(self.point.series, duration_s, 1)

    def end(self, error: BaseException | None = None) -> None:
        """Record the call, once: what the endpoint said of it wins over the status."""
        if self.ended:
            return
        self._turn_odd()
        call = self.said
        self.ended = True
        if self.token is not None:
            leave(self.token)
        _FLIGHTS.end(self.mark)
        self._tell(call, error)

    @property
    def said(self) -> Call:
        """The call as an object, to say something of it."""
        self._turn_odd()
        if self.call is None:
            self.call = asked(self.point.series.buffers, self)
        if self.call is None:  # In the child of a fork, that ends what its parent began.
            self.call = Call(self.point.series)
            self.call.started_at = self.started_at
        return self.call

    @property
    def in_parts(self) -> bool:
        """True once the answer has come in more than one part."""
        return self.odd and self.chunks > 1

    def _turn_odd(self) -> None:
        if not self.odd:
            self.odd = True
            self.call = None
            self.chunks = 0
            self.items = None
            self.gone = False

    def _take(self, message: Message) -> None:
        """Note a part of an answer that comes in parts."""
        self._turn_odd()
        if message.get("body"):
            self.chunks += 1
            if self.items is None:
                self.items = Items(_JUDGE)
            self.items.take(message["body"])

    def _tell(self, call: Call, error: BaseException | None) -> None:
        if self.chunks > 1 and self.items is not None:
            self.items.tell(call)
        if self.status >= 400:
            call.attribute(STATUS_CODE, self.status)
        if not call.judged:
            if self.gone:
                call.outcome("cancelled")
            elif error is None and self.status:
                call.outcome(outcome_of_status(self.status))
            elif error is None:
                call.outcome("error")
        call.end(error)
