"""WSGI middleware: Flask, Django, Bottle ... (PEP 3333).

    app.wsgi_app = ObserveWSGI(app.wsgi_app, model="sentiment", paths=("/predict",))

A request is one call from the first byte to the end of the answer's iteration; `ninesight.current()`
inside the view is this call. An answer that is not read to its end is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ninesight.api import RUNTIME
from ninesight.calls import Call
from ninesight.integrations.choosing import EXCLUDED, Chooser, Told
from ninesight.items import Items
from ninesight.judge import Judge
from ninesight.outcomes import outcome_of_status
from ninesight.traces import STATUS_CODE

__all__ = ["ObserveWSGI"]

StartResponse = Callable[..., Any]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_JUDGE = Judge(RUNTIME.faults)


class ObserveWSGI:
    """Wraps an app. `model`, `version` and each of `labels` may be functions of the WSGI environ; None is not observed."""

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

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path = environ.get("PATH_INFO", "")
        point = self._known.get(path)
        if point is None or not RUNTIME.buffers.recording:
            point = self._chooser.point_of(path, environ)
        if point is None:
            return self._app(environ, start_response)
        call = Call(point.series)
        if point.series.buffers.keeper is not None and "HTTP_TRACEPARENT" in environ:
            call.continue_trace(environ["HTTP_TRACEPARENT"])
        answer = _Answer(call)

        def started(status: str, headers: Any, *more: Any) -> Any:
            answer.status = int(status[:3]) if status[:3].isdigit() else 0
            return start_response(status, headers, *more)

        call.begin()
        try:
            answer.body = self._app(environ, started)
        except BaseException as error:
            call.end(error)
            raise
        call.suspend()
        return answer


class _Answer:
    """The answer's iterable: ends the call when it is exhausted or closed. Has no length, as a generator has none."""

    __slots__ = ("_call", "_chunks", "_items", "body", "status")

    def __init__(self, call: Call) -> None:
        self.body: Iterable[bytes] = ()
        self.status = 0
        self._call = call
        self._chunks = 0
        self._items: Items | None = None

    def __iter__(self) -> Iterator[bytes]:
        # A body in one part is no stream: its first byte tells nothing new.
        single = isinstance(self.body, list | tuple) and len(self.body) < 2
        chunks = iter(self.body)
        while True:
            self._call.resume()
            try:
                chunk = next(chunks)
            except StopIteration:
                self._end(None, done=True)
                return
            except BaseException as error:
                self._end(error, done=True)
                raise
            self._call.suspend()
            if chunk and not single:
                self._chunks += 1
                if self._items is None:
                    self._items = Items(_JUDGE)
                self._items.take(chunk)
            yield chunk

    def close(self) -> None:
        """Close the app's answer; what was not read to its end is cancelled."""
        close = getattr(self.body, "close", None)
        try:
            if close is not None:
                close()
        finally:
            self._end(None, done=False)

    def _end(self, error: BaseException | None, *, done: bool) -> None:
        call = self._call
        if call.finished:
            return
        if self._chunks > 1 and self._items is not None:
            self._items.tell(call)
        if self.status >= 400:
            call.attribute(STATUS_CODE, self.status)
        if not call.judged:
            if not done:
                call.outcome("cancelled")
            elif error is None:
                call.outcome(outcome_of_status(self.status) if self.status else "error")
        call.end(error)
