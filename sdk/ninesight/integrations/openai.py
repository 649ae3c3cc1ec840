"""Middleware for servers that speak OpenAI's API (ASGI): the model from the request, tokens and their pace from the answer.

    app.add_middleware(ObserveOpenAI)

The request's JSON names the model. A streamed answer gives time to first token and time per output
token; the `usage` object, of a whole answer or of the last chunk, gives the tokens. Bodies over
1 MiB are passed on without being looked into.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ninesight.calls import Call
from ninesight.chunks import openai_usage
from ninesight.integrations.asgi import App, Message, ObserveASGI, Response
from ninesight.integrations.choosing import EXCLUDED, Told

__all__ = ["ObserveOpenAI"]

_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
_BODY_BYTES_MAX = 1 << 20


class ObserveOpenAI(ObserveASGI):
    """Wraps an app; `model` is what a request is counted as until its body says which."""

    def __init__(
        self,
        app: App,
        *,
        model: Told = "unknown",
        version: Told = "1",
        labels: Mapping[str, Told] | None = None,
        paths: Sequence[str] = _PATHS,
        excluded: Sequence[str] = EXCLUDED,
    ) -> None:
        super().__init__(app, model=model, version=version, labels=labels, paths=paths, excluded=excluded)

    def response(self, call: Call) -> Response:
        """Return what reads the request and follows the answer."""
        return _Completion(call)


class _Completion(Response):
    """One completion, streamed or whole."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._request: bytearray | None = bytearray()
        self._answer: bytearray | None = bytearray()

    def asked(self, message: Message) -> None:
        """Collect the request until it names its model."""
        super().asked(message)
        if message["type"] != "http.request" or self._request is None:
            return
        self._request += message.get("body", b"")
        if len(self._request) > _BODY_BYTES_MAX:
            self._request = None
        elif not message.get("more_body", False):
            found = _json(bytes(self._request))
            self._request = None
            if isinstance(found, dict) and isinstance(found.get("model"), str):
                self.call.model(found["model"], self.call.series.version)

    def answered(self, message: Message) -> bool:
        """Follow the answer; a whole one is read for its usage."""
        last = super().answered(message)
        if message["type"] == "http.response.body" and self._answer is not None:
            self._answer += message.get("body", b"")
            if self.chunks > 1 or len(self._answer) > _BODY_BYTES_MAX:
                self._answer = None
        if last and self._answer:
            usage = openai_usage(_json(bytes(self._answer)))
            if usage is not None:
                self.call.pace.usage(usage)
        return last


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found
