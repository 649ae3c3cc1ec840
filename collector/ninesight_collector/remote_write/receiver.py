"""The remote-write receiver, `POST /api/v1/write`.

    read (event loop, capped) ─► thread: inflate, columns, series, sink.write ─► answer

Acknowledged means durable: 204 is answered only after `sink.write` returned. Where some of a request is broken,
the rest is kept, and the answer is 400 with what was written in its headers: what the specification calls
a partial write (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

import anyio.to_thread
from ninesight_store.contract import Batch, Sink
from ninesight_store.errors import Amount, LateError, PermanentError, RetryableError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ninesight_collector.contract import TargetView
from ninesight_collector.counters import Counters
from ninesight_collector.errors import BodyError
from ninesight_collector.gate import Gate
from ninesight_collector.pushed_body import read_body
from ninesight_collector.remote_write.block import decompress
from ninesight_collector.remote_write.refusals import Refusals
from ninesight_collector.remote_write.request import read_request
from ninesight_collector.remote_write.series import Taker
from ninesight_collector.remote_write.settings import ReceiverSettings

__all__ = ["PATH", "WriteReceiver", "routes"]

_log = logging.getLogger(__name__)
PATH = "/api/v1/write"
_RETRY_AFTER_S = 1
_KEY = "remote_write_receiver.body_bytes_max"
_VERSIONS = {"prometheus.WriteRequest": 1, "io.prometheus.write.v2.Request": 2}


_NOTHING = Amount(0, 0, 0)


class WriteReceiver:
    """Answers `POST /api/v1/write`. One per sink; used from one or several event loops."""

    def __init__(
        self, sink: Sink, settings: ReceiverSettings, counters: Counters, now_ms: Callable[[], int]
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._counters = counters
        self._now_ms = now_ms
        self._gate = Gate(settings.token, settings.in_flight_max)
        self._taker = Taker(settings)
        self._last_ms = 0
        self._error = ""

    def view(self) -> TargetView:
        """Return how receiving goes, for a status page."""
        samples = int(self._counters.get("received_samples_total", source="remote_write"))
        up = True if self._last_ms else None
        return TargetView(
            "remote_write_receiver", "remote_write", PATH, up, self._last_ms, 0.0, samples, self._error
        )

    async def answer(self, request: Request) -> Response:
        """Take one request. Every outcome is an answer; nothing is raised."""
        response = await self._answer(request)
        self._counters.add("remote_write_requests_total", code=str(response.status_code))
        return response

    async def _answer(self, request: Request) -> Response:
        if not self._gate.knows(request):
            return _refused(
                401,
                "a valid bearer token is needed; send Authorization: Bearer <remote_write_receiver.token>",
                {"WWW-Authenticate": "Bearer"},
            )
        if not self._gate.enter():
            # Not 429: Prometheus drops what was answered so, unless it is told otherwise.
            text = (
                f"at most {self._settings.in_flight_max} requests are worked on at once; send it again later"
            )
            return _later(text)
        try:
            version = version_of(request.headers)
            body = await read_body(
                request,
                bytes_max=self._settings.body_bytes_max,
                timeout_s=self._settings.body_timeout_s,
                key=_KEY,
            )
            return await anyio.to_thread.run_sync(partial(self._take, body, version))
        except BodyError as error:
            self._error = str(error)
            return _refused(error.status, str(error), _written(_NOTHING))
        finally:
            self._gate.leave()

    def _take(self, body: bytes, version: int) -> Response:
        whole = decompress(body, self._settings.body_bytes_max, _KEY)
        raw = read_request(whole, version, self._settings.fields_max)
        taken = self._taker.take(raw, self._now_ms())
        batch, refusals = taken.batch, taken.refusals
        for reason, samples in refusals.counts.items():
            self._counters.add("rejected_samples_total", samples, source="remote_write", reason=reason)
        if refusals.exemplars_left_out:
            self._counters.add(
                "exemplars_left_out_total",
                refusals.exemplars_left_out,
                source="remote_write",
                reason="labels",
            )
        try:
            if len(batch) or batch.metadata or len(batch.exemplars):
                self._sink.write(batch)
        except LateError as error:
            self._counters.add("rejected_samples_total", error.refused, source="remote_write", reason="late")
            refusals.add("late", str(error), error.refused)
            return self._done(error.fresh, refusals)
        except PermanentError as error:
            self._counters.add("rejected_samples_total", len(batch), source="remote_write", reason="sink")
            self._error = str(error)
            return _refused(400, str(error), _written(_NOTHING))
        except RetryableError as error:
            self._error = str(error)
            return _later(f"{error}; send the same again")
        except Exception as error:
            # Not durable, so never acknowledged: the sender keeps it and tries again.
            _log.exception("the sink broke on %d samples", len(batch))
            self._error = f"the sink broke: {type(error).__name__}"
            return _later("the samples could not be kept; send the same again")
        return self._done(_all_of(batch), refusals)

    def _done(self, kept: Amount, refusals: Refusals) -> Response:
        samples = kept.samples + kept.points
        self._counters.add("received_samples_total", samples, source="remote_write")
        self._last_ms = self._now_ms()
        self._error = refusals.text()
        if refusals:
            return _refused(400, f"{samples} samples were written; {refusals.text()}", _written(kept))
        return Response(status_code=204, headers=_written(kept))


def version_of(headers: Mapping[str, str]) -> int:
    """Return 1 or 2 by Content-Type, after a look at Content-Encoding. Raises BodyError (415)."""
    given = headers.get("content-type", "")
    kind, *parameters = (part.strip() for part in given.split(";"))
    proto = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            proto = value.strip().strip('"')
    # Without either header a sender is older than both: it writes 1.0.
    if kind.lower() not in ("", "application/x-protobuf") or (proto and proto not in _VERSIONS):
        raise BodyError(
            'Content-Type must be application/x-protobuf with proto "prometheus.WriteRequest" or '
            f'"io.prometheus.write.v2.Request", got "{given[:200]}"',
            status=415,
            reason="content_type",
        )
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "snappy"):
        raise BodyError(
            f'Content-Encoding must be snappy, got "{encoding[:100]}"', status=415, reason="encoding"
        )
    return _VERSIONS[proto] if proto else 1


def routes(
    sink: Sink, settings: ReceiverSettings, counters: Counters, now_ms: Callable[[], int]
) -> list[Route]:
    """Return the Starlette routes of the receiver: POST /api/v1/write."""
    return [Route(PATH, WriteReceiver(sink, settings, counters, now_ms).answer, methods=["POST"])]


def _all_of(batch: Batch) -> Amount:
    return Amount(len(batch.timestamps), len(batch.histograms), len(batch.exemplars))


def _written(kept: Amount) -> dict[str, str]:
    """Return the headers that say what was kept: a sender tells 2.0 from 1.0 by them."""
    names = ("Samples", "Histograms", "Exemplars")
    return {
        f"X-Prometheus-Remote-Write-{name}-Written": str(count)
        for name, count in zip(names, kept, strict=True)
    }


def _refused(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return PlainTextResponse(f"{text}\n", status, dict(headers))


def _later(text: str) -> Response:
    return _refused(503, text, {**_written(_NOTHING), "Retry-After": str(_RETRY_AFTER_S)})
