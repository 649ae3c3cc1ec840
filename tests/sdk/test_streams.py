"""Generators: one call from the first item to the last, and the protocol of generators untouched."""

import asyncio
import inspect

import ninesight
import pytest
from ninesight.testing import number, total


def requests(snapshot, model, outcome):
    return number(
        snapshot, "model_requests_total", model=model, version="1", outcome=outcome, served_by="model"
    )


def test_a_generator_is_one_call_from_first_to_last_item(sdk):
    """Values sent in, the return value and in-flight pass as they should."""

    @ninesight.observe(model="generator", predictions=len)
    def stream():
        got = yield 1
        with ninesight.stage("decode"):
            got = yield got
        return [got, got]

    assert inspect.isgeneratorfunction(stream)
    running = stream()
    assert number(sdk(), "model_requests_in_flight", model="generator", version="1") == 0
    assert next(running) == 1
    assert number(sdk(), "model_requests_in_flight", model="generator", version="1") == 1
    assert running.send("a") == "a"
    with pytest.raises(StopIteration) as stopped:
        running.send("b")
    assert stopped.value.value == ["b", "b"]
    assert requests(sdk(), "generator", "ok") == 1
    assert number(sdk(), "model_predictions_total", model="generator", version="1") == 2
    assert number(sdk(), "model_requests_in_flight", model="generator", version="1") == 0


def test_while_its_consumer_runs_a_generator_is_not_the_running_call(sdk):
    """Stages of the consumer do not go to the stream."""

    @ninesight.observe(model="suspended")
    def stream():
        yield ninesight.current()
        yield ninesight.current()

    with ninesight.call("consumer") as consumer:
        seen = []
        for call in stream():
            assert ninesight.current() is consumer
            seen.append(call)
    assert seen[0] is seen[1]
    assert seen[0] is not consumer


@pytest.mark.parametrize("end", ["close", "drop", "throw", "raise"])
def test_a_generator_that_ends_early_tells_how(sdk, end):
    """Closed or dropped is cancelled, an error is an error; never asked for an item is no call."""
    closed = []

    @ninesight.observe(model=f"ends-{end}")
    def stream():
        try:
            yield 1
            raise ValueError("inside")
        finally:
            closed.append(True)

    stream()
    running = stream()
    next(running)
    if end == "close":
        running.close()
    elif end == "throw":
        with pytest.raises(KeyError):
            running.throw(KeyError("from outside"))
    elif end == "raise":
        with pytest.raises(ValueError, match="inside"):
            next(running)
    del running
    assert closed == [True]
    outcome = "cancelled" if end in {"close", "drop"} else "error"
    assert requests(sdk(), f"ends-{end}", outcome) == 1
    assert total(sdk(), "model_requests_total", model=f"ends-{end}") == 1


def test_a_generator_may_swallow_what_is_thrown_into_it(sdk):
    """`throw` returns the next item, as with the bare generator."""

    @ninesight.observe(model="swallows")
    def stream():
        try:
            yield 1
        except KeyError:
            yield "caught"

    running = stream()
    next(running)
    assert running.throw(KeyError("x")) == "caught"
    assert list(running) == []
    assert requests(sdk(), "swallows", "ok") == 1


def test_an_async_generator_is_one_call(sdk):
    """Items, values sent in, early closing and errors."""

    @ninesight.observe(model="async-stream")
    async def stream(fail=False):
        got = yield 1
        await asyncio.sleep(0)
        if fail:
            raise TimeoutError
        yield got

    async def use():
        running = stream()
        assert await anext(running) == 1
        assert await running.asend("a") == "a"
        with pytest.raises(StopAsyncIteration):
            await anext(running)
        early = stream()
        await anext(early)
        await early.aclose()
        failing = stream(fail=True)
        assert await anext(failing) == 1
        with pytest.raises(TimeoutError):
            await anext(failing)

    assert inspect.isasyncgenfunction(stream)
    asyncio.run(use())
    assert [requests(sdk(), "async-stream", word) for word in ("ok", "cancelled", "timeout")] == [1, 1, 1]
    assert number(sdk(), "model_requests_in_flight", model="async-stream", version="1") == 0


def test_streams_of_two_tasks_do_not_mix(sdk):
    """Each task finds its own call while both are under way."""

    @ninesight.observe(model="mixes-not")
    async def stream(served_by):
        for _ in range(3):
            await asyncio.sleep(0)
            yield ninesight.current()
        ninesight.current().served_by(served_by)

    async def use(served_by):
        return {id(call) async for call in stream(served_by)}

    async def both():
        return await asyncio.gather(use("cache"), use("fallback"))

    one, other = asyncio.run(both())
    assert len(one) == len(other) == 1
    assert one != other
    for served_by in ("cache", "fallback"):
        assert total(sdk(), "model_requests_total", model="mixes-not", served_by=served_by) == 1
