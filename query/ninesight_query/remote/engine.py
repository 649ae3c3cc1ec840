"""RemoteEngine: PromQL answered by any server that speaks Prometheus' HTTP API.

Safe to call from many threads: connections are pooled, nothing is kept between questions but what the
server said it is. Raises only QueryError. `close` ends the connections.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import orjson
from ninesight_store.contract import Labels, Matcher, Metadata, SeriesExemplars

from ninesight_query import ir
from ninesight_query.contract import Answer, Capabilities
from ninesight_query.errors import (
    ExecutionError,
    LimitError,
    ParseError,
    QueryError,
    UnavailableError,
)
from ninesight_query.lookback import lookback_now
from ninesight_query.parse import parse, prettify
from ninesight_query.remote.answers import instant_value, matrix_value
from ninesight_query.remote.client import Form, RemoteClient
from ninesight_query.remote.dialect import worded
from ninesight_query.remote.exemplars import exemplars_of
from ninesight_query.remote.reader import AnswerReader
from ninesight_query.remote.selectors import escaped_label, selector_text
from ninesight_query.remote.servers import UNKNOWN, Server, server_of
from ninesight_query.remote.settings import RemoteSettings

__all__ = ["RemoteEngine"]

T = TypeVar("T")

_PROBE_TIMEOUT_S = 5.0
_PROBE_AGAIN_S = 10.0
_KINDS = frozenset({"counter", "gauge", "histogram", "summary", "info"})


class _WholeBody:
    """Reads a body that is no row after row: the catalogue's lists."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._held += chunk

    def end(self) -> Any:
        told = orjson.loads(bytes(self._held))
        if not isinstance(told, dict) or told.get("status") != "success":
            raise ValueError("status must be success")
        return told["data"]


class RemoteEngine:
    """Answers PromQL by asking a server (the `Engine` contract)."""

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Reach nothing yet: the server may come up later. Raises UnavailableError for a bad `ca_file`."""
        self._settings = settings
        self._client = RemoteClient(settings, sleep=sleep, clock_s=clock_s, transport=transport)
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._probe_after_s = float("-inf")

    @property
    def capabilities(self) -> Capabilities:
        """Say what the server can do. Asks it the first time; UNKNOWN's until it answers."""
        return self._known().capabilities

    @property
    def retries_total(self) -> int:
        """Questions asked once more."""
        return self._client.retries_total

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def instant(self, query: str, at_ms: int) -> Answer:
        """Evaluate at one time. Raises QueryError."""
        expr = self._checked(query)
        form = [("query", self._worded(query, expr)), ("time", _seconds(at_ms))]
        envelope, reader = self._evaluated("/api/v1/query", form, expr)
        value = _shaped(lambda: instant_value(envelope["data"], reader.rows, expr, at_ms))
        return Answer(value, *_said(envelope))

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Evaluate at start, start+step, ... <= end. Raises QueryError."""
        _check_grid(start_ms, end_ms, step_ms, self._settings.points_per_series_max)
        expr = self._checked(query)
        if expr is not None and expr.type not in (ir.ValueType.SCALAR, ir.ValueType.VECTOR):
            raise ParseError(
                f"a range query needs a scalar or an instant vector at every step, got a {expr.type}; "
                "put a function such as rate() around a range vector"
            )
        form = [
            ("query", self._worded(query, expr)),
            ("start", _seconds(start_ms)),
            ("end", _seconds(end_ms)),
            # As a duration: Prometheus cuts 33.3 to 33.299 s.
            ("step", f"{step_ms}ms"),
        ]
        envelope, reader = self._evaluated("/api/v1/query_range", form, expr)
        cells_max = self._settings.samples_max
        value = _shaped(lambda: matrix_value(reader.rows, start_ms, end_ms, step_ms, cells_max=cells_max))
        return Answer(value, *_said(envelope))

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Return the series that match any of the selectors, sorted. Raises QueryError."""
        form = self._catalogue_form(selectors or ((),), start_ms, end_ms)
        found = self._listed("POST", "/api/v1/series", form)
        return _shaped(lambda: tuple(sorted({_labels(each) for each in found})))

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the label names of those series, sorted. Raises QueryError."""
        form = self._catalogue_form(selectors, start_ms, end_ms)
        return tuple(sorted(map(str, self._listed("POST", "/api/v1/labels", form))))

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the values of one label over those series, sorted. Raises QueryError."""
        form = self._catalogue_form(selectors, start_ms, end_ms)
        path = f"/api/v1/label/{quote(escaped_label(name), safe='')}/values"
        return tuple(sorted(set(map(str, self._listed("GET", path, form))) - {""}))

    def metadata(self) -> tuple[Metadata, ...]:
        """Return what the server knows of each metric, sorted by name. Raises QueryError."""
        found, _ = self._client.ask("GET", "/api/v1/metadata", (), _WholeBody)
        return _shaped(lambda: tuple(_metadata(name, told) for name, told in sorted(found.items()) if told))

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars of the series that match any of the selectors. Raises QueryError."""
        start_ms, end_ms = self._known().clipped(start_ms, end_ms)
        if not selectors or end_ms < start_ms:
            return ()
        # The server takes the selectors of any query: `or` joins them.
        query = " or ".join(map(selector_text, selectors))
        form = [("query", query), ("start", _seconds(start_ms)), ("end", _seconds(end_ms))]
        found = self._listed("POST", "/api/v1/query_exemplars", form)
        return _shaped(lambda: exemplars_of(found))

    def _known(self) -> Server:
        """Return the server's kind; ask again only some time after an attempt that led nowhere."""
        with self._lock:
            if self._server is None and self._clock_s() >= self._probe_after_s:
                try:
                    build, headers = self._client.ask(
                        "GET", "/api/v1/status/buildinfo", (), _WholeBody, timeout_s=_PROBE_TIMEOUT_S
                    )
                    self._server = server_of(build if isinstance(build, dict) else {}, headers)
                except QueryError:
                    self._probe_after_s = self._clock_s() + _PROBE_AGAIN_S
            return self._server or UNKNOWN

    def _checked(self, query: str) -> ir.Expr | None:
        """Return our reading of a query, None where only the server may understand it. Raises LimitError."""
        limit = self._settings.query_length_max
        if len(query) > limit:
            raise LimitError(
                f"a query may have at most {limit} characters, got {len(query)}; "
                "shorten it, or raise query.query_length_max"
            )
        try:
            return parse(query)
        except ParseError:
            return None

    def _worded(self, query: str, expr: ir.Expr | None) -> str:
        """Return the query as this server understands it; what we cannot read is left to the server."""
        wording = self._known().wording
        if expr is None or not any(name in query for name in wording):
            return query
        said = worded(expr, wording)
        return query if said is expr else prettify(said)

    def _evaluated(
        self, path: str, form: list[tuple[str, str]], expr: ir.Expr | None
    ) -> tuple[Mapping[str, Any], AnswerReader]:
        server = self._known()
        form += [("timeout", f"{self._settings.timeout_s:.3f}"), *server.parameters]
        lookback_ms = lookback_now()
        if lookback_ms is not None:
            form.append((server.lookback_parameter, f"{lookback_ms}ms"))
        readers: list[AnswerReader] = []

        def reader() -> AnswerReader:
            readers.append(AnswerReader(self._settings.samples_max))
            return readers[-1]

        try:
            envelope, _ = self._client.ask("POST", path, form, reader)
        except ExecutionError as error:
            # VictoriaMetrics has one status for every mistake; what we cannot read either is no PromQL.
            if expr is None:
                raise ParseError(str(error)) from error
            raise
        if envelope.get("status") != "success" or not isinstance(envelope.get("data"), dict):
            raise UnavailableError(
                f"{self._client.where} must answer as the Prometheus HTTP API does, it sends no data; "
                "look at query.url"
            )
        return envelope, readers[-1]

    def _catalogue_form(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> Form:
        start_ms, end_ms = self._known().clipped(start_ms, end_ms)
        span = [("start", _seconds(start_ms)), ("end", _seconds(end_ms))]
        return [("match[]", selector_text(each)) for each in selectors] + span

    def _listed(self, method: str, path: str, form: Form) -> list[Any]:
        found, _ = self._client.ask(method, path, form, _WholeBody)
        if found is None:
            return []
        if not isinstance(found, list):
            raise UnavailableError(f"{self._client.where}{path} must answer a list, it sends something else")
        return found


def _check_grid(start_ms: int, end_ms: int, step_ms: int, limit: int) -> None:
    """Refuse what no server would answer, in the words of the local engine."""
    if step_ms <= 0:
        raise ParseError(f"step must be positive, got {step_ms} ms")
    if end_ms < start_ms:
        raise ParseError(f"end must not be before start, got start {start_ms} ms and end {end_ms} ms")
    steps = (end_ms - start_ms) // step_ms
    if steps > limit:
        raise LimitError(
            f"a range query may have at most {limit} steps, got {steps}; "
            f"take a step of at least {-(-(end_ms - start_ms) // limit)} ms"
        )


def _shaped(work: Callable[[], T]) -> T:
    """Run a decoder; what it cannot read is no answer of a Prometheus API."""
    try:
        return work()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UnavailableError(
            f"the server must answer as the Prometheus HTTP API does, it sends something else "
            f"({type(error).__name__}: {str(error)[:200]}); look at query.url"
        ) from error


def _said(envelope: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (warnings, infos)."""
    warnings = tuple(map(str, envelope.get("warnings") or ()))
    if envelope.get("isPartial") is True:
        warnings += ("the answer is partial: some storage nodes of the server did not answer",)
    return warnings, tuple(map(str, envelope.get("infos") or ()))


def _labels(told: Mapping[str, Any]) -> Labels:
    return tuple(sorted((str(key), str(value)) for key, value in told.items() if value))


def _metadata(name: str, told: Sequence[Mapping[str, Any]]) -> Metadata:
    kind = str(told[0].get("type") or "")
    return Metadata(
        str(name),
        kind if kind in _KINDS else "unknown",
        str(told[0].get("unit") or ""),
        str(told[0].get("help") or ""),
    )


def _seconds(time_ms: int) -> str:
    """Return milliseconds as exact seconds."""
    whole, rest = divmod(abs(time_ms), 1000)
    return f"{'-' if time_ms < 0 else ''}{whole}.{rest:03d}"
