"""For tests of this part and of those above it: engines, channels, readers, a real receiver, a contract suite.

Scenario files (`*.scn`) are read by `run_scenario`; its notation is described in `scenario.py`.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import numpy as np
from ninesight_query.contract import (
    Answer,
    Capabilities,
    Labels,
    Matcher,
    Matrix,
    Metadata,
    SeriesExemplars,
    Vector,
    labels_of,
)
from ninesight_query.errors import ExecutionError, ParseError

from ninesight_alerts.contract import (
    AlertView,
    Channel,
    DeliveryView,
    Notification,
    Receipt,
    RecordedSample,
    RuleView,
)
from ninesight_alerts.errors import PermanentError, RetryableError
from ninesight_alerts.scenario import EngineOf, Scenario, ScenarioError, Series, parse_scenario, run_scenario

__all__ = [
    "ChannelContract",
    "EngineOf",
    "FixedAlerts",
    "LocalReceiver",
    "Received",
    "RecordingChannel",
    "RecordingRecord",
    "Scenario",
    "ScenarioError",
    "ScriptedEngine",
    "Series",
    "element",
    "notification_of",
    "parse_scenario",
    "run_scenario",
    "vector_of",
    "wait_until",
]

Elements = Mapping[Labels, float]


def vector_of(elements: Elements, at_ms: int = 0) -> Vector:
    """Return an instant vector of labels and values."""
    ordered = sorted(elements.items())
    return Vector(
        at_ms, tuple(labels for labels, _ in ordered), np.array([value for _, value in ordered], np.float64)
    )


def notification_of(
    notification_id: str = "msg_1", body: bytes = b"{}", receiver: str = "hook"
) -> Notification:
    """Return a notification for tests of channels and senders."""
    return Notification(notification_id, receiver, "{}:{}", "firing", body, 0)


class ScriptedEngine:
    """An `Engine` that answers instant queries from a table; a test changes `answers` as time passes.

    A value is the elements of a vector, an exception to raise, or a function of the time in
    milliseconds that gives either. A query that is not in the table has no elements.
    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = dict(answers or {})
        self.asked: list[tuple[str, int]] = []

    @property
    def capabilities(self) -> Capabilities:
        """Say that this is a script."""
        return Capabilities("scripted")

    def instant(self, query: str, at_ms: int) -> Answer:
        """Return what the table says."""
        self.asked.append((query, at_ms))
        given = self.answers.get(query, {})
        given = given(at_ms) if callable(given) else given
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, Answer) else Answer(vector_of(given, at_ms))

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Return the instant answers side by side."""
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        answers = [self.instant(query, int(at_ms)).value for at_ms in times]
        vectors = [value for value in answers if isinstance(value, Vector)]
        if len(vectors) != len(answers):
            raise ExecutionError("the script gives no vector here")
        labels = tuple(sorted({item for vector in vectors for item in vector.labels}))
        values = np.full((len(labels), len(times)), np.nan)
        present = np.zeros(values.shape, np.bool_)
        for column, vector in enumerate(vectors):
            for row, item in enumerate(vector.labels):
                values[labels.index(item), column] = vector.values[row]
                present[labels.index(item), column] = True
        return Answer(Matrix(times, labels, values, present))

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """A script knows queries, not series."""
        raise ParseError("a scripted engine answers only the queries in its table")

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """A script knows queries, not labels."""
        raise ParseError("a scripted engine answers only the queries in its table")

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """A script knows queries, not labels."""
        raise ParseError("a scripted engine answers only the queries in its table")

    def metadata(self) -> tuple[Metadata, ...]:
        """Return nothing: a script has no metrics."""
        return ()

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return nothing: a script has no traces."""
        return ()


class RecordingRecord:
    """A `Record` that keeps every sample, and raises what `fail_with` says, once each."""

    def __init__(self, fail_with: Iterable[Exception] = ()) -> None:
        self.samples: list[RecordedSample] = []
        self._failures = list(fail_with)

    def __call__(self, samples: tuple[RecordedSample, ...], /) -> None:
        """Record the samples, or raise the next planned failure."""
        if self._failures:
            raise self._failures.pop(0)
        self.samples += samples


class RecordingChannel:
    """A `Channel` that keeps what it was sent, and first raises what `fail_with` says, one a call."""

    def __init__(self, fail_with: Iterable[Exception] = ()) -> None:
        self.sent: list[Notification] = []
        self.calls = 0
        self._failures = list(fail_with)

    def send(self, notification: Notification) -> Receipt:
        """Record the notification, or raise the next planned failure."""
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        self.sent.append(notification)
        return Receipt(200, 0)


@dataclass
class FixedAlerts:
    """An `AlertsReader` that gives what it was given."""

    active_alerts: Sequence[AlertView] = ()
    past: Sequence[AlertView] = ()
    made: Sequence[DeliveryView] = ()
    loaded: Sequence[RuleView] = ()

    def active(self) -> Sequence[AlertView]:
        """Return the given active alerts."""
        return self.active_alerts

    def history(self, *, limit: int = 100) -> Sequence[AlertView]:
        """Return the first of the given past alerts."""
        return self.past[:limit]

    def deliveries(self, *, limit: int = 100) -> Sequence[DeliveryView]:
        """Return the first of the given attempts."""
        return self.made[:limit]

    def rules(self) -> Sequence[RuleView]:
        """Return the given rules."""
        return self.loaded


@dataclass(frozen=True)
class Received:
    """One request a receiver got."""

    at: float
    """Seconds of the monotonic clock."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        """The idempotency key."""
        return self.headers["idempotency-key"]

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class LocalReceiver:
    """A real HTTP server on the loopback interface that keeps what it gets.

    `answers` gives one status a request, the last one for ever; `hang` answers with headers that
    never end, any 3xx points to `/elsewhere`. Use it as a context manager.
    """

    answers: Sequence[int | str] = (200,)
    received: list[Received] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._next = itertools.chain(self.answers, itertools.repeat(self.answers[-1]))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self._server.block_on_close = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where to send."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def wait_for(self, count: int, *, deadline_s: float = 60.0) -> list[Received]:
        """Return what came once `count` requests are there. Raises AssertionError when they do not come."""
        wait_until(lambda: len(self.received) >= count, deadline_s=deadline_s, what=f"{count} requests")
        return self.received

    def _take(self, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> int | str:
        with self._lock:
            self.paths.append(path)
            named = {name.lower(): value for name, value in headers}
            self.received.append(Received(time.monotonic(), named, body))
            return next(self._next)


def _handler(receiver: LocalReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                # The sender died half way: no server takes that for a request.
                return
            answer = receiver._take(self.path, self.headers.items(), body)
            with suppress(OSError):
                if answer == "hang":
                    self._hang()
                    return
                self.send_response(int(answer))
                if 300 <= int(answer) < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _hang(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not receiver._closing.wait(0.05):
                self.wfile.write(b"X-Drip: drop\r\n")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it.
            """Keep tests quiet."""

    return Handler


def wait_until(holds: Callable[[], object], *, deadline_s: float = 60.0, what: str = "the condition") -> None:
    """Return once `holds()` is true; raise AssertionError at the deadline."""
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"{what} did not come within {deadline_s:g} s"
        time.sleep(0.01)


class ChannelContract:
    """What every channel keeps. Subclass it in a test module and give the two fixtures.

    `channel_of(answers)` gives a channel whose other side answers with these statuses in turn, and
    a function that returns the ids the other side got.
    """

    def test_accepted_is_a_receipt(self, channel_of: ChannelOf) -> None:
        """2xx gives a receipt with the status."""
        channel, got = channel_of((204,))
        assert channel.send(notification_of()).status_code == 204
        assert list(got()) == ["msg_1"]

    def test_temporary_is_retryable(self, channel_of: ChannelOf) -> None:
        """A temporary refusal raises RetryableError, and the same notification may be sent again."""
        channel, got = channel_of((503, 429, 408, 200))
        for _ in range(3):
            _raises(RetryableError, channel)
        assert channel.send(notification_of()).status_code == 200
        assert list(got()) == ["msg_1"] * 4

    def test_refused_is_permanent(self, channel_of: ChannelOf) -> None:
        """A final refusal raises PermanentError."""
        channel, _ = channel_of((400,))
        _raises(PermanentError, channel)


ChannelOf = Callable[[Sequence[int | str]], tuple[Channel, Callable[[], Iterator[str]]]]


def _raises(kind: type[Exception], channel: Channel) -> None:
    try:
        channel.send(notification_of())
    except kind:
        return
    raise AssertionError(f"{kind.__name__} must be raised")


def element(**labels: str) -> Labels:
    """Return the labels of a vector's element without a metric name."""
    return labels_of("", labels)
