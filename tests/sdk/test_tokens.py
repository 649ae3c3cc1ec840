"""Tokens and their pace: from yielded items, OpenAI-style chunks, and what the call says itself."""

import asyncio
import json
import time
from types import SimpleNamespace

import ninesight
import pytest
from ninesight.testing import histogram, number, total

TTFT = "model_time_to_first_token_seconds"
TPOT = "model_time_per_output_token_seconds"


def tokens(snapshot, model):
    return {
        direction: total(snapshot, "model_tokens_total", model=model, direction=direction)
        for direction in ("input", "output", "cached")
    }


def chunk(content, usage=None):
    return {"choices": [{"index": 0, "delta": {"content": content}}], "usage": usage}


USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def as_dicts():
    yield chunk("")
    yield chunk("Hel")
    yield chunk("lo")
    yield {"choices": [], "usage": USAGE}


def as_objects():
    for item in as_dicts():
        choices = [
            SimpleNamespace(delta=SimpleNamespace(content=c["delta"]["content"], tool_calls=None))
            for c in item["choices"]
        ]
        usage = None
        if item["usage"]:
            details = SimpleNamespace(cached_tokens=4)
            usage = SimpleNamespace(prompt_tokens=11, completion_tokens=5, prompt_tokens_details=details)
        yield SimpleNamespace(choices=choices, usage=usage)


def as_events():
    for item in as_dicts():
        yield f"data: {json.dumps(item)}\n\n"
    yield "data: [DONE]\n\n"


def as_compact_bytes():
    for item in as_dicts():
        yield b"data: " + json.dumps(item, separators=(",", ":")).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


KINDS = [as_dicts, as_objects, as_events, as_compact_bytes]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", ["sync", "async"])
def test_openai_style_chunks_are_read(sdk, kind, way):
    """The first chunk with content is the first token; a usage object says how many there were."""
    model = f"chunks-{kind.__name__}-{way}"
    if way == "sync":

        @ninesight.observe(model=model)
        def stream():
            yield from kind()

        given = list(stream())
    else:

        @ninesight.observe(model=model)
        async def stream():
            for item in kind():
                yield item

        async def use():
            return [item async for item in stream()]

        given = asyncio.run(use())
    assert len(given) == len(list(kind()))
    snapshot = sdk()
    assert tokens(snapshot, model) == {"input": 11, "output": 5, "cached": 4}
    assert histogram(snapshot, TTFT, model=model, version="1").count == 1
    assert histogram(snapshot, TPOT, model=model, version="1").count == 1


def test_the_pace_is_measured_from_first_to_last_token(sdk):
    """Time to first token from the beginning; time per token over those that followed the first."""
    given, taken = [], []

    @ninesight.observe(model="paced")
    def stream():
        given.append(time.perf_counter())
        for step in range(4):
            time.sleep(0.02)
            given.append(time.perf_counter())
            yield step

    asked = time.perf_counter()
    taken.extend(time.perf_counter() for _ in stream())
    snapshot = sdk()
    first = histogram(snapshot, TTFT, model="paced", version="1").sum
    each = histogram(snapshot, TPOT, model="paced", version="1").sum
    # Each token is seen between being given and being taken, however long the machine pauses in between.
    assert given[1] - given[0] <= first <= taken[0] - asked
    assert (given[4] - taken[0]) / 3 <= each <= (taken[3] - given[1]) / 3
    assert tokens(snapshot, "paced")["output"] == 0  # Items of an unknown kind are no tokens.


def test_a_function_of_the_items_counts_tokens(sdk):
    """A number a piece, or what the server says in the end."""

    @ninesight.observe(model="counted", tokens=len)
    def stream():
        yield "ab"
        yield ""
        yield "abc"

    @ninesight.observe(model="told", tokens=lambda item: item if isinstance(item, dict) else 1)
    def told():
        yield "a"
        yield {"input": 3, "output": 9}

    list(stream())
    list(told())
    assert tokens(sdk(), "counted")["output"] == 5
    assert tokens(sdk(), "told") == {"input": 3, "output": 9, "cached": 0}


def test_tokens_of_a_whole_answer(sdk):
    """`openai_usage` reads them from a result; the call may say them itself, more than once."""

    @ninesight.observe(model="whole", tokens=ninesight.openai_usage)
    def answer():
        return {"choices": [{"message": {"content": "Hello"}}], "usage": USAGE}

    @ninesight.observe(model="itself")
    async def itself():
        ninesight.current().tokens(input=7)
        for _ in range(3):
            ninesight.current().token()
            await asyncio.sleep(0.001)
        ninesight.current().tokens(output=3, cached=2)

    answer()
    asyncio.run(itself())
    snapshot = sdk()
    assert tokens(snapshot, "whole") == {"input": 11, "output": 5, "cached": 4}
    assert tokens(snapshot, "itself") == {"input": 7, "output": 3, "cached": 2}
    assert histogram(snapshot, TTFT, model="itself", version="1").count == 1
    assert histogram(snapshot, TPOT, model="itself", version="1").sum >= 0.001


def test_a_stream_closed_early_still_tells_its_first_token(sdk):
    """The reader went away: cancelled, with the pace so far."""

    @ninesight.observe(model="early")
    def stream():
        yield chunk("a")
        yield chunk("b")

    running = stream()
    next(running)
    running.close()
    snapshot = sdk()
    assert total(snapshot, "model_requests_total", model="early", outcome="cancelled") == 1
    assert histogram(snapshot, TTFT, model="early", version="1").count == 1
    with pytest.raises(KeyError):
        histogram(snapshot, TPOT, model="early", version="1")


def test_items_that_lie_do_not_hurt_the_stream(sdk):
    """Broken JSON, objects that raise on a look, functions that fail: counted, passed on unchanged."""

    class Raises:
        choices = ()

        @property
        def usage(self):
            raise RuntimeError("do not look")

    def broken(_):
        raise ValueError

    items = ['data: {"usage": {', Raises(), chunk("x")]
    for index, first in enumerate(items):

        @ninesight.observe(model=f"lies-{index}")
        def stream(first=first):
            yield first
            yield first

        assert list(stream()) == [first, first]
    assert list(ninesight.observe(model="lies", tokens=broken)(lambda: iter([1]))()) == [1]
    assert total(sdk(), "model_requests_total", outcome="ok") == 4


@pytest.mark.parametrize("wrong", [{"output": -1}, {"input": "many"}, {"cached": 1.5}])
def test_wrong_counts_are_refused_and_counted(sdk, wrong):
    """Whole numbers of at least 0."""
    with ninesight.call("wrong") as call:
        call.tokens(**wrong)
    assert tokens(sdk(), "wrong") == {"input": 0, "output": 0, "cached": 0}
    assert number(sdk(), "ninesight_sdk_invalid_total") == 1
