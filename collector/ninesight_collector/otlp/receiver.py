"""The OTLP/HTTP metrics receiver.

    read (event loop, capped) ─► thread: inflate, decode, translate, sink.write ─► answer

Acknowledged means durable: 200 is answered only after `sink.write` returned. At most
`in_flight_max` requests are held at once; the next one is told to come back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import anyio.to_thread
from ninesight_store.contract import Sink
from ninesight_store.errors import LateError, PermanentError, RetryableError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ninesight_collector.contract import TargetView
from ninesight_collector.counters import Counters
from ninesight_collector.errors import BodyError
from ninesight_collector.gate import Gate
from ninesight_collector.otlp.answers import accepted, refused
from ninesight_collector.otlp.body import JSON, PROTOBUF, content_type, decode, decompress
from ninesight_collector.otlp.census import check_elements, check_objects
from ninesight_collector.otlp.settings import OtlpSettings
from ninesight_collector.otlp.translate import Refusals, translate
from ninesight_collector.pushed_body import read_body
from ninesight_collector.table_cache import TableCache

__all__ = ["Receiver", "routes"]

_log = logging.getLogger(__name__)
_RETRY_AFTER_S = 1


class Receiver:
    """Answers `POST /v1/metrics`. One per sink; used from one or several event loops."""

    def __init__(
        self, sink: Sink, settings: OtlpSettings, counters: Counters, now_ms: Callable[[], int]
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._counters = counters
        self._now_ms = now_ms
        self._tables = TableCache()
        self._gate = Gate(settings.token, settings.in_flight_max)
        self._last_ms = 0
        self._error = ""

    def view(self) -> TargetView:
        """Return how receiving goes, for a status page."""
        samples = int(self._counters.get("received_samples_total", source="otlp"))
        return TargetView(
            "otlp",
            "otlp",
            "/v1/metrics",
            True if self._last_ms else None,
            self._last_ms,
            0.0,
            samples,
            self._error,
        )

    async def answer(self, request: Request) -> Response:
        """Take one request. Every outcome is an answer; nothing is raised."""
        kind = PROTOBUF if PROTOBUF in request.headers.get("content-type", "").lower() else JSON
        response = await self._answer(request, kind)
        self._counters.add("otlp_requests_total", code=str(response.status_code))
        return response

    async def _answer(self, request: Request, kind: str) -> Response:
        if not self._gate.knows(request):
            return refused(
                401, "a valid bearer token is needed; send Authorization: Bearer <otlp.token>", kind
            )
        if not self._gate.enter():
            text = (
                f"at most {self._settings.in_flight_max} requests are worked on at once; send it again later"
            )
            return refused(429, text, kind, retry_after_s=_RETRY_AFTER_S)
        try:
            kind = content_type(request)
            settings = self._settings
            body = await read_body(
                request,
                bytes_max=settings.body_bytes_max,
                timeout_s=settings.body_timeout_s,
                key="otlp.body_bytes_max",
            )
            encoding = request.headers.get("content-encoding", "")
            work = partial(self._take, body, encoding, kind)
            return await anyio.to_thread.run_sync(work)
        except BodyError as error:
            self._error = str(error)
            return refused(error.status, str(error), kind)
        finally:
            self._gate.leave()

    def _take(self, body: bytes, encoding: str, kind: str) -> Response:
        whole = decompress(body, encoding, self._settings)
        if kind == JSON:
            check_objects(whole, self._settings.elements_max)
        request = decode(whole, kind)
        check_elements(request, self._settings.elements_max)
        translated = translate(request, self._settings, self._now_ms())
        batch = self._tables.shared(translated.batch)
        for reason, points in translated.refusals.counts.items():
            self._counters.add("rejected_samples_total", points, source="otlp", reason=reason)
        for reason, count in translated.exemplars_left_out.items():
            self._counters.add("exemplars_left_out_total", count, source="otlp", reason=reason)
        try:
            if len(batch):
                self._sink.write(batch)
        except LateError as error:
            # The others are on the disk: a partial success, not to be sent again.
            self._counters.add("rejected_samples_total", error.refused, source="otlp", reason="late")
            late = translated.points_before(error.oldest_ms)
            translated.refusals.add("late", str(error), late)
            self._done(error.kept, translated.refusals)
            return accepted(translated.refusals, kind)
        except PermanentError as error:
            self._counters.add("rejected_samples_total", len(batch), source="otlp", reason="sink")
            self._error = str(error)
            return refused(400, str(error), kind)
        except RetryableError as error:
            self._error = str(error)
            return refused(503, f"{error}; send the same again", kind, retry_after_s=_RETRY_AFTER_S)
        except Exception as error:
            # Not durable, so never acknowledged: the sender keeps it and tries again.
            _log.exception("the sink broke on %d samples", len(batch))
            self._error = f"the sink broke: {type(error).__name__}"
            return refused(
                503, "the samples could not be kept; send the same again", kind, retry_after_s=_RETRY_AFTER_S
            )
        self._done(len(batch), translated.refusals)
        return accepted(translated.refusals, kind)

    def _done(self, samples: int, refusals: Refusals) -> None:
        self._counters.add("received_samples_total", samples, source="otlp")
        self._last_ms = self._now_ms()
        self._error = refusals.text()


def routes(sink: Sink, settings: OtlpSettings, counters: Counters, now_ms: Callable[[], int]) -> list[Route]:
    """Return the Starlette routes of the receiver: POST /v1/metrics."""
    return [Route("/v1/metrics", Receiver(sink, settings, counters, now_ms).answer, methods=["POST"])]
