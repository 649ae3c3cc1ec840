"""Middleware for servers that speak OpenAI's API (ASGI): the model from the request, tokens and their pace from the answer.

    app.add_middleware(ObserveOpenAI)

The request's JSON names the model. A streamed answer gives time to first token and time per output
token; the `usage` object, of a whole answer or of the last chunk, gives the tokens. Bodies over
1 MiB are passed on without being looked into.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence

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

        self._follow = _Completion


class _Completion(Response):
    """One completion, streamed or whole."""

    __slots__ = ("_answer", "_request")

    def __init__(self) -> None:
        self._request: bytearray | None = bytearray()
        self._answer: bytearray | None = bytearray()

    async def receive(self) -> Message:
        """Collect the request until it names its model."""
        message = await super().receive()
        if message["type"] == "http.request" and self._request is not None:
            self._request += message.get("body", b"")
            if len(self._request) > _BODY_BYTES_MAX:
                self._request = None
            elif not message.get("more_body", False):
                found = _json(bytes(self._request))
                self._request = None
                if isinstance(found, dict) and isinstance(found.get("model"), str):
                    self.said.model(found["model"], self.point.series.version)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Follow the answer; a whole one is read for its usage."""
        sending = super().send(message)
        if message["type"] == "http.response.body" and self._answer is not None:
            self._answer += message.get("body", b"")
            if self.in_parts or len(self._answer) > _BODY_BYTES_MAX:
                self._answer = None
            elif self._answer and not message.get("more_body", False):
                usage = openai_usage(_json(bytes(self._answer)))
                if usage is not None:
                    self.said.pace.usage(usage)
        return sending


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found
