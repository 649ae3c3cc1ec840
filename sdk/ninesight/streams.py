"""Generators: one call from the first item asked for to the last one given.

The call is the running one only while the generator itself runs, not while its consumer does. A
generator closed early is cancelled; one never asked for an item never ran and is not recorded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from ninesight.calls import Call
from ninesight.items import Items
from ninesight.judge import Judge
from ninesight.targets import Target

__all__ = ["async_generator", "sync_generator"]


def sync_generator(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap a generator function; send, throw, close and the return value pass through."""

    def observed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        point = target.of(args, kwargs)
        call = Call(point.series, point.predictions)
        items = Items(judge)
        call.begin()
        try:
            inner = fn(*args, **kwargs)
            step, sent = inner.send, None
            while True:
                item = step(sent)
                items.take(item)
                call.suspend()
                try:
                    sent = yield item
                    step = inner.send
                except GeneratorExit:
                    call.resume()
                    inner.close()
                    raise
                except BaseException as thrown:
                    step, sent = inner.throw, thrown
                call.resume()
        except StopIteration as stop:
            items.tell(call)
            judge.answered(call, stop.value, streamed=True)
            return stop.value
        except BaseException as error:
            items.tell(call)
            judge.failed(call, error)
            raise

    return observed


def async_generator(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap an async generator function; asend, athrow and aclose pass through."""

    async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        point = target.of(args, kwargs)
        call = Call(point.series, point.predictions)
        items = Items(judge)
        call.begin()
        try:
            inner = fn(*args, **kwargs)
            step, sent = inner.asend, None
            while True:
                item = await step(sent)
                items.take(item)
                call.suspend()
                try:
                    sent = yield item
                    step = inner.asend
                except GeneratorExit:
                    call.resume()
                    await inner.aclose()
                    raise
                except BaseException as thrown:
                    step, sent = inner.athrow, thrown
                call.resume()
        except StopAsyncIteration:
            items.tell(call)
            judge.answered(call, None, streamed=True)
        except BaseException as error:
            items.tell(call)
            judge.failed(call, error)
            raise

    return observed
