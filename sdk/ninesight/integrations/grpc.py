"""Interceptors for gRPC servers, of threads and of asyncio; unary and streaming, either way.

    server = grpc.server(pool, interceptors=[ObserveGrpc(model="sentiment")])
    server = grpc.aio.server(interceptors=[ObserveGrpcAio(model=lambda asked: asked.request.model_name)])

A call is one RPC from its handler's first step to its last message. Its outcome is told by the status:
DEADLINE_EXCEEDED timeout, CANCELLED cancelled, RESOURCE_EXHAUSTED and UNAVAILABLE shed, others error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio

from ninesight.api import RUNTIME
from ninesight.calls import Call
from ninesight.integrations.choosing import Chooser, Told
from ninesight.items import Items
from ninesight.judge import Judge

__all__ = ["Asked", "ObserveGrpc", "ObserveGrpcAio"]

_OUTCOMES = {
    grpc.StatusCode.OK: "ok",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "shed",
    grpc.StatusCode.UNAVAILABLE: "shed",
}

_EXCLUDED = ("/grpc.health.v1.Health", "/grpc.reflection.v1alpha.ServerReflection", "/grpc.reflection.v1.ServerReflection")  # fmt: skip


class Asked(NamedTuple):
    """What `model`, `version` and labels may be functions of."""

    method: str
    """/package.Service/Method."""
    request: Any
    """The message; None where the client streams."""
    metadata: Mapping[str, Any]


class _Observer:
    """What both kinds share: which RPCs are observed, and how a call ends."""

    def __init__(
        self,
        *,
        model: Told,
        version: Told = "1",
        labels: Mapping[str, Told] | None = None,
        methods: Sequence[str] = ("/",),
        excluded: Sequence[str] = _EXCLUDED,
    ) -> None:
        self._chooser = Chooser(model=model, version=version, labels=labels, paths=methods, excluded=excluded)

    def _call(self, details: Any, request: Any) -> Call | None:
        metadata = dict(details.invocation_metadata or ())
        call = self._chooser.call_of(details.method, Asked(details.method, request, metadata))
        if call is not None and isinstance(metadata.get("traceparent"), str):
            call.continue_trace(metadata["traceparent"])
        return call


class ObserveGrpc(_Observer, grpc.ServerInterceptor):  # type: ignore[misc] # grpcio ships no types.
    """For `grpc.server`."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wrap the handler of one RPC."""
        handler = continuation(details)
        if handler is None:
            return None
        inner, make = _parts(handler)

        def unary(request: Any, context: Any) -> Any:
            call = self._call(details, None if handler.request_streaming else request)
            if call is None:
                return inner(request, context)
            call.begin()
            try:
                answer = inner(request, context)
            except BaseException as error:
                _end(call, context, error)
                raise
            _end(call, context, None)
            return answer

        def streaming(request: Any, context: Any) -> Iterator[Any]:
            call = self._call(details, None if handler.request_streaming else request)
            if call is None:
                yield from inner(request, context)
                return
            items = Items(Judge(RUNTIME.faults))
            call.begin()
            try:
                for item in inner(request, context):
                    items.take(item)
                    call.suspend()
                    yield item
                    call.resume()
            except BaseException as error:
                items.tell(call)
                _end(call, context, error)
                raise
            items.tell(call)
            _end(call, context, None)

        return make(streaming if handler.response_streaming else unary)


class ObserveGrpcAio(_Observer, grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpcio ships no types.
    """For `grpc.aio.server`. Handlers that write by `context.write` are followed to their end, without a pace."""

    async def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wrap the handler of one RPC."""
        handler = await continuation(details)
        if handler is None:
            return None
        inner, make = _parts(handler)

        async def unary(request: Any, context: Any) -> Any:
            call = self._call(details, None if handler.request_streaming else request)
            if call is None:
                return await inner(request, context)
            call.begin()
            try:
                answer = await inner(request, context)
            except BaseException as error:
                _end(call, context, error)
                raise
            _end(call, context, None)
            return answer

        async def streaming(request: Any, context: Any) -> AsyncIterator[Any]:
            call = self._call(details, None if handler.request_streaming else request)
            if call is None:
                async for item in inner(request, context):
                    yield item
                return
            items = Items(Judge(RUNTIME.faults))
            call.begin()
            try:
                async for item in inner(request, context):
                    items.take(item)
                    call.suspend()
                    yield item
                    call.resume()
            except BaseException as error:
                items.tell(call)
                _end(call, context, error)
                raise
            items.tell(call)
            _end(call, context, None)

        return make(streaming if _is_generator(handler, inner) else unary)


def _is_generator(handler: Any, inner: Any) -> bool:
    import inspect

    return bool(handler.response_streaming) and inspect.isasyncgenfunction(inner)


def _parts(handler: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a handler's function, and how to make a handler of the same kind."""
    kinds = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
    name, make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]

    def like(function: Any) -> Any:
        return make(
            function,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    return getattr(handler, name), like


def _end(call: Call, context: Any, error: BaseException | None) -> None:
    """End with the status that the handler set, by `abort` or `set_code`; else by the exception."""
    if not call.judged:
        code = context.code()
        if isinstance(code, int):
            code = next((status for status in grpc.StatusCode if status.value[0] == code), None)
        if code is not None and (error is None or code is not grpc.StatusCode.OK):
            call.outcome(_OUTCOMES.get(code, "error"))
        elif isinstance(error, GeneratorExit) or not _active(context):
            call.outcome("cancelled")
    call.end(error)


def _active(context: Any) -> bool:
    active = getattr(context, "is_active", None)
    return True if active is None else bool(active())
