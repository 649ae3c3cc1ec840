"""Open Inference Protocol v2 over HTTP as a raw ASGI application.

    GET  /v2                                  who we are
    GET  /v2/health/live  /v2/health/ready    liveness is not readiness
    GET  /v2/models/{model}[/versions/{v}][/ready]
    POST /v2/models/{model}[/versions/{v}]/infer
    GET  /metrics                             the SDK's exposition
    POST /admin/faults/{model}                only with `faults` on

Every answer to an inference carries `Server-Timing: app;dur=<milliseconds>`: the duration that was recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib.metadata import version
from typing import Any

import ninesight
import orjson

from ninesight_server.config import ServerSettings
from ninesight_server.contract import TensorSpec
from ninesight_server.errors import MethodError, NotFoundError, NotReadyError, ServerError, TooLargeError
from ninesight_server.faults import read_fault
from ninesight_server.inference import infer, parse_json
from ninesight_server.slot import ModelSlot

__all__ = ["InferenceApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")


class InferenceApp:
    """The ASGI callable. `draining` makes it not ready while running requests finish."""

    def __init__(self, slots: Mapping[str, ModelSlot], settings: ServerSettings) -> None:
        self._slots = slots
        self._settings = settings
        self._metrics = ninesight.metrics_app()
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            await self._metrics(scope, receive, send)
            return
        headers = [_JSON]
        try:
            status, payload = await self._answer(scope, receive, headers)
        except ServerError as error:
            status, payload = error.status, orjson.dumps({"error": str(error)})
            if status == 503:
                headers.append((b"retry-after", b"1"))
        headers.append((b"content-length", str(len(payload)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def _answer(
        self, scope: Scope, receive: Receive, headers: list[tuple[bytes, bytes]]
    ) -> tuple[int, bytes]:
        method, path = scope["method"], scope["path"]
        steps = path.strip("/").split("/")
        if steps[:2] == ["v2", "models"] and len(steps) > 2:
            slot, rest = self._slot(steps[2:])
            if rest == ["infer"]:
                _require(method, "POST", path)
                payload, duration_s = await infer(slot, await self._body(receive))
                headers.append((b"server-timing", b"app;dur=%.6f" % (duration_s * 1000.0)))
                return 200, payload
            _require(method, "GET", path)
            if rest == ["ready"]:
                return self._ready(slot.why_not)
            if not rest:
                return 200, orjson.dumps(_face(slot))
        elif steps[:2] == ["admin", "faults"] and len(steps) == 3 and self._settings.faults:
            _require(method, "POST", path)
            slot, _ = self._slot(steps[2:])
            slot.faults.fault = read_fault(parse_json(await self._body(receive)))
            return 200, orjson.dumps({"model": slot.spec.name, "fault": slot.faults.fault})
        elif path in {"/v2", "/v2/health/live", "/v2/health/ready"}:
            _require(method, "GET", path)
            return self._health(path)
        raise NotFoundError(f"there is nothing at {path}; see GET /v2")

    def _health(self, path: str) -> tuple[int, bytes]:
        if path == "/v2/health/live":
            return 200, orjson.dumps({"live": True})
        if path == "/v2/health/ready":
            reasons = (f"{name}: {slot.why_not}" for name, slot in self._slots.items() if slot.why_not)
            return self._ready("; ".join(reasons))
        about = {"name": "ninesight-server", "version": version("ninesight"), "extensions": []}
        return 200, orjson.dumps({**about, "models": sorted(self._slots)})

    def _ready(self, why_not: str | None) -> tuple[int, bytes]:
        """Say that all is ready, or why not."""
        why_not = "the server is draining" if self.draining else why_not
        if why_not:
            return 503, orjson.dumps({"ready": False, "reason": why_not})
        return 200, orjson.dumps({"ready": True})

    def _slot(self, steps: list[str]) -> tuple[ModelSlot, list[str]]:
        """Return the model a path names, and the path's rest."""
        name, rest = steps[0], steps[1:]
        slot = self._slots.get(name)
        if slot is None:
            raise NotFoundError(f"there is no model {name!r}; there are {sorted(self._slots)}")
        if rest[:1] == ["versions"]:
            if rest[1:2] != [slot.spec.version]:
                raise NotFoundError(f"{name} has the version {slot.spec.version!r}, not {rest[1:2]}")
            rest = rest[2:]
        return slot, rest

    async def _body(self, receive: Receive) -> bytes:
        """Read the whole body. Raises TooLargeError over the cap, NotReadyError when the client left."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            while message.get("more_body") and size <= self._settings.body_bytes_max:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise NotReadyError("the client left before its request was whole")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if len(body) > self._settings.body_bytes_max:
            raise TooLargeError(f"a request holds at most {self._settings.body_bytes_max} bytes; split it")
        return body


def _require(method: str, wanted: str, path: str) -> None:
    if method != wanted:
        raise MethodError(f"{path} takes {wanted}, got {method}")


def _face(slot: ModelSlot) -> dict[str, Any]:
    spec = slot.spec

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in specs]

    return {
        "name": spec.name,
        "versions": [spec.version],
        "platform": spec.platform,
        "inputs": tensors(spec.inputs),
        "outputs": tensors(spec.outputs),
    }
