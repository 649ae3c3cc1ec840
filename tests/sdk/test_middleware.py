"""The middlewares without a server: every way an answer may end, and what is left alone."""

import asyncio
import json

import ninesight
import pytest
from ninesight.api import RUNTIME
from ninesight.integrations.asgi import ObserveASGI
from ninesight.integrations.openai import ObserveOpenAI
from ninesight.integrations.wsgi import ObserveWSGI
from ninesight.otlp_spans import spans_of
from ninesight.testing import histogram, isolated, number, total

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def outcomes(snapshot, model):
    """Outcomes of a model that are not 0."""
    return {
        dict(point.labels)["outcome"]: point.value
        for family in snapshot.families
        if family.name == "model_requests_total"
        for point in family.numbers
        if point.value and ("model", model) in point.labels
    }


def asgi(app, *, path="/predict", kind="http", body=b"", headers=(), gone=False):
    """Drive an ASGI app once; return what it sent."""
    sent = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if gone:
            return {"type": "http.disconnect"}
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "path": path, "method": "POST", "headers": list(headers)}
    asyncio.run(app(scope, receive, send))
    return sent


def answering(status=200, chunks=(b"x",), *, after=None, error=None):
    """An ASGI app that gives this answer, then does something more, or fails."""

    async def app(scope, receive, send):
        await receive()
        if error is not None:
            raise error
        await send({"type": "http.response.start", "status": status, "headers": []})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if after is not None:
            after()

    return app


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "ok"), (404, "error"), (429, "shed"), (500, "error"), (504, "timeout")]
)
def test_the_status_tells_the_outcome(sdk, status, outcome):
    """Over ASGI and WSGI alike."""
    asgi(ObserveASGI(answering(status), model="told"))
    assert outcomes(sdk(), "told") == {outcome: 1}
    wsgi(ObserveWSGI(wsgi_answering(status), model="told-wsgi"))
    assert outcomes(sdk(), "told-wsgi") == {outcome: 1}


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError(), asyncio.CancelledError()], ids=repr)
def test_an_exception_passes_and_tells_the_outcome(sdk, error):
    """The framework's own handling goes on as it would."""
    expected = {TimeoutError: "timeout", asyncio.CancelledError: "cancelled"}.get(type(error), "error")
    with pytest.raises(type(error)):
        asgi(ObserveASGI(answering(error=error), model="raises"))
    assert outcomes(sdk(), "raises") == {expected: 1}
    assert number(sdk(), "model_requests_in_flight", model="raises", version="1") == 0


def test_background_work_is_not_in_the_duration(sdk):
    """The call ends with the last byte; what the endpoint does afterwards finds no call."""
    seen = []
    app = answering(after=lambda: seen.append((sdk(), ninesight.current().finished)))
    asgi(ObserveASGI(app, model="background"))
    snapshot, finished = seen[0]
    assert outcomes(snapshot, "background") == {"ok": 1}
    assert finished


def test_a_client_that_went_away_is_cancelled(sdk):
    """The app saw the disconnect before it had answered; its own word would win."""
    asgi(ObserveASGI(answering(), model="leaves"), gone=True)
    assert outcomes(sdk(), "leaves") == {"cancelled": 1}


def test_an_app_that_never_answers_failed(sdk):
    """No status at all."""

    async def silent(scope, receive, send):
        await receive()

    asgi(ObserveASGI(silent, model="silent"))
    assert outcomes(sdk(), "silent") == {"error": 1}


def test_the_endpoint_may_say_more_and_wins(sdk):
    """Outcome, predictions, labels and the model itself, through `current()`."""

    async def app(scope, receive, send):
        call = ninesight.current()
        call.model("router/small", "2")
        call.labels(tenant="t")
        call.outcome("shed")
        await answering()(scope, receive, send)

    asgi(ObserveASGI(app, model="router"))
    assert outcomes(sdk(), "router") == {}
    assert (
        total(sdk(), "model_requests_total", model="router/small", version="2", tenant="t", outcome="shed")
        == 1
    )


def test_what_is_no_request_is_left_alone(sdk):
    """Lifespan, websockets, other paths, excluded ones, and requests without a model."""

    async def app(scope, receive, send):
        assert ninesight.current().finished
        await send({"type": "seen"})

    observed = ObserveASGI(app, model=lambda scope: None if scope["path"] == "/none" else "m", paths=("/",))
    for kind, path in (
        ("lifespan", ""),
        ("websocket", "/predict"),
        ("http", "/metrics"),
        ("http", "/metrics/x"),
        ("http", "/none"),
    ):
        assert asgi(observed, kind=kind, path=path) == [{"type": "seen"}]
    assert asgi(ObserveASGI(app, model="m", paths=("/v1/",)), path="/predict") == [{"type": "seen"}]
    assert outcomes(sdk(), "m") == {}


def test_a_function_of_the_request_that_raises_costs_only_the_name(sdk):
    """The request is counted as unknown, the trouble is told."""
    observed = ObserveASGI(answering(), model=lambda scope: scope["nothing"], labels={"tenant": "fixed"})
    asgi(observed)
    assert total(sdk(), "model_requests_total", model="unknown", tenant="fixed", outcome="ok") == 1
    assert ninesight.stats().internal_errors == 1


def test_the_callers_trace_is_continued():
    """From the header, over ASGI and WSGI."""
    with isolated(traces=True, trace_share=1.0):
        asgi(ObserveASGI(answering(), model="a"), headers=[(b"traceparent", TRACEPARENT.encode())])
        wsgi(ObserveWSGI(wsgi_answering(200), model="w"), HTTP_TRACEPARENT=TRACEPARENT)
        RUNTIME.aggregator.drain()
        kept = RUNTIME.buffers.keeper.take(10)
        assert [f"{call.trace_id:032x}" for call in kept] == [TRACEPARENT.split("-")[1]] * 2
        assert [f"{call.parent_id:016x}" for call in kept] == [TRACEPARENT.split("-")[2]] * 2


def test_a_failures_span_says_its_status_or_its_exception():
    """As OpenTelemetry's conventions say of `error.type`: the class raised, else the status, else the kind or `_OTHER`."""

    def says(word):
        async def app(scope, receive, send):
            ninesight.current().outcome(word)
            await answering()(scope, receive, send)

        return app

    with isolated(traces=True, trace_share=1.0):
        for app in (answering(404), answering(503), answering(503, chunks=(b"x", b"y")), answering(200)):
            asgi(ObserveASGI(app, model="a"))
        wsgi(ObserveWSGI(wsgi_answering(500), model="w"))
        with pytest.raises(ValueError, match="secret"):
            asgi(ObserveASGI(answering(error=ValueError("secret")), model="a"))
        for word in ("timeout", "shed", "error", "cancelled"):
            asgi(ObserveASGI(says(word), model="a"))
        RUNTIME.aggregator.drain()
        spans = [next(iter(spans_of(kept, {}))) for kept in RUNTIME.buffers.keeper.take(20)]
    found = [span.attributes.get("error.type") for span in spans]
    assert found == ["404", "503", "503", None, "500", "ValueError", "timeout", "shed", "_OTHER", None]
    assert [span.attributes.get("http.response.status_code") for span in spans[:6]] == [
        404,
        503,
        503,
        None,
        500,
        None,
    ]
    assert [span.status.is_ok for span in spans] == [kind is None for kind in found]


@pytest.mark.parametrize("make", [ObserveASGI, ObserveWSGI])
def test_wrong_settings_are_told_at_start(make):
    """When the server is put together, not when a request comes."""
    with pytest.raises(ninesight.ConfigError, match="model must be a name or a function of the request"):
        make(answering(), model=3)
    with pytest.raises(ninesight.ConfigError, match="labels must be at most 16 names"):
        make(answering(), model="m", labels={"outcome": "x"})


def completion(body, chunks):
    """One request through the OpenAI middleware."""
    observed = ObserveOpenAI(answering(chunks=chunks))
    return asgi(observed, path="/v1/chat/completions", body=body)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "gpt"}', "gpt"),
        (b'{"model": 3}', "unknown"),
        (b"not json", "unknown"),
        (b"[" * 100_000, "unknown"),
        (b'{"model": "' + b"x" * 2_000_000 + b'"}', "unknown"),
    ],
    ids=["named", "no name", "no json", "deep", "large"],
)
def test_any_body_is_passed_on_and_read_if_it_can_be(sdk, body, model):
    """The model of the request, or unknown; nothing raises."""
    answer = json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
    sent = completion(body, [answer])
    assert sent[1]["body"] == answer
    assert outcomes(sdk(), model) == {"ok": 1}
    assert total(sdk(), "model_tokens_total", model=model, direction="output") == 2


def test_a_streamed_completion_has_tokens_and_a_pace(sdk):
    """Server-sent events, chunk by chunk."""
    events = [f'data: {{"choices":[{{"delta":{{"content":"{word}"}}}}]}}\n\n'.encode() for word in "abc"]
    events.append(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n')
    completion(b'{"model": "streamed"}', events)
    assert total(sdk(), "model_tokens_total", model="streamed", direction="input") == 7
    first = histogram(sdk(), "model_time_to_first_token_seconds", model="streamed", version="1")
    assert first.count == 1


def wsgi(app, **environ):
    """Drive a WSGI app as a server does; return the body."""
    answer = app({"PATH_INFO": "/predict", "REQUEST_METHOD": "GET", **environ}, lambda *_: None)
    try:
        return b"".join(answer)
    finally:
        getattr(answer, "close", lambda: None)()


def wsgi_answering(status, chunks=(b"x",)):
    def app(environ, start_response):
        start_response(f"{status} Words", [])
        return list(chunks)

    return app


def test_a_wsgi_answer_is_a_call_to_its_end(sdk):
    """Its generator is the running call while it runs, not while the server sends; closed early it is cancelled."""
    closed = []

    def pieces():
        try:
            for _ in range(3):
                ninesight.current().add_stage("decode", 0.1)
                yield b"x"
        finally:
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [])
        return pieces()

    assert wsgi(ObserveWSGI(app, model="pieces")) == b"xxx"
    assert outcomes(sdk(), "pieces") == {"ok": 1}
    answer = ObserveWSGI(app, model="pieces")({"PATH_INFO": "/"}, lambda *_: None)
    assert next(iter(answer)) == b"x"
    assert ninesight.current().finished
    answer.close()
    assert outcomes(sdk(), "pieces") == {"ok": 1, "cancelled": 1}
    assert closed == [True, True]
    stage = histogram(sdk(), "model_stage_duration_seconds", model="pieces", version="1", stage="decode")
    assert stage.count == 4


def test_a_wsgi_app_that_raises_is_an_error(sdk):
    """In the call, or amid its answer."""

    def at_once(environ, start_response):
        raise KeyError

    def amid(environ, start_response):
        start_response("200 OK", [])

        def pieces():
            yield b"x"
            raise KeyError

        return pieces()

    for app in (at_once, amid):
        with pytest.raises(KeyError):
            wsgi(ObserveWSGI(app, model="breaks"))
    assert outcomes(sdk(), "breaks") == {"error": 2}
