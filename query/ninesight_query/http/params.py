"""The parameters of one request: query string and form body together."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_plus

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from ninesight_query.contract import Matcher
from ninesight_query.errors import ParseError, QueryCancelledError
from ninesight_query.http.errors import BodyLateError, BodyTooLargeError
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import TIME_MAX_MS, TIME_MIN_MS, parse_time_ms
from ninesight_query.parse import parse_selector

__all__ = ["Params", "query_params", "read_params"]

_FORM = "application/x-www-form-urlencoded"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TEXTS_MAX = 4_096
_TEXT_LENGTH_MAX = 2_000
"""Longer texts are not remembered, in characters."""
_ON = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_OFF = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Params:
    """Parsed parameters. Every reader raises ParseError that names the parameter."""

    def __init__(self, pairs: Sequence[tuple[str, str]], *, selectors_max: int = 200) -> None:
        self._pairs = pairs
        self._firsts: dict[str, str] = {}
        for name, value in pairs:
            if value:
                self._firsts.setdefault(name, value)
        self._selectors_max = selectors_max

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a parameter, in order."""
        return tuple(value for key, value in self._pairs if key == name)

    def first(self, name: str) -> str:
        """Return the first value that is not empty, else ""."""
        return self._firsts.get(name, "")

    def required(self, name: str) -> str:
        """Return a parameter that must be there."""
        value = self.first(name)
        if not value:
            raise ParseError(f'invalid parameter "{name}": it must be given, got nothing; add {name}=...')
        return value

    def time_ms(self, name: str, default_ms: int) -> int:
        """Return a time in milliseconds."""
        text = self.first(name)
        return parse_time_ms(text, name) if text else default_ms

    def span_ms(self, *, ordered: bool = False) -> tuple[int, int]:
        """Return (start, end) in milliseconds; all of time where they are not given.

        Prometheus' catalogue finds nothing in a span whose end lies before its start; its queries refuse it.
        """
        start_ms, end_ms = self.time_ms("start", TIME_MIN_MS), self.time_ms("end", TIME_MAX_MS)
        if ordered and end_ms < start_ms:
            raise ParseError(
                f'invalid parameter "end": end timestamp must not be before start time, '
                f"got start {self.first('start')} and end {self.first('end')}; swap them"
            )
        return start_ms, end_ms

    def limit(self, most: int = 0, *, name: str = "limit") -> int:
        """Return how many results are wanted at most; 0 means `most`, and more than that is cut to it.

        `most` 0 is no bound: then 0 means all.
        """
        text = self.first(name)
        if not text:
            return most
        if not (text.isascii() and text.isdigit()):
            raise ParseError(f'invalid parameter "{name}": it must be a whole number from 0 on, got {text!r}')
        wanted = int(text[:18]) or most
        return min(wanted, most) if most else wanted

    def whole(self, name: str, default: int) -> int:
        """Return a whole number that may be negative."""
        text = self.first(name)
        if not text:
            return default
        if not _WHOLE.fullmatch(text):
            raise ParseError(f'invalid parameter "{name}": {name} must be a number, got {text[:80]!r}')
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a switch: 1, t, true or 0, f, false, as Go reads them; absent is off."""
        text = self.first(name)
        if text in _ON:
            return True
        if text and text not in _OFF:
            raise ParseError(
                f'invalid parameter "{name}": it must be true or false, got {text[:80]!r}; leave it out for false'
            )
        return False

    def selectors(self, *, required: bool = False) -> tuple[tuple[Matcher, ...], ...]:
        """Return the matchers of every `match[]`, at most `selectors_max`."""
        texts = self.all("match[]")
        if len(texts) > self._selectors_max:
            raise ParseError(
                f'invalid parameter "match[]": there may be at most {self._selectors_max} selectors, '
                f"got {len(texts)}; join them as one with a regular expression"
            )
        if required and not texts:
            raise ParseError(
                'invalid parameter "match[]": no match[] parameter provided; add match[]=up or another selector'
            )
        out = []
        for text in texts:
            try:
                out.append(parse_selector(text))
            except ParseError as error:
                raise ParseError(f'invalid parameter "match[]": {error}') from error
        return tuple(out)


async def _body(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    chunks, size = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > bytes_max:
                    raise BodyTooLargeError(
                        f"a request body must be at most {bytes_max} bytes, got more; "
                        "shorten the query or its matchers"
                    )
                chunks.append(chunk)
    except TimeoutError as error:
        raise BodyLateError(
            f"a request body must arrive within {timeout_s:g} s, got {size} bytes of it; send it at once"
        ) from error
    except ClientDisconnect as error:
        raise QueryCancelledError("the client went away before its request was whole") from error
    return b"".join(chunks)


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="strict")


_remembered = lru_cache(_TEXTS_MAX)(_decoded)
"""The same queries come again and again, at other times: taking them apart costs more than looking them up."""


def _pairs(text: str, fields_max: int) -> list[tuple[str, str]]:
    """Take an URL-encoded form apart: `urllib.parse.parse_qsl` that remembers texts and keeps blank values."""
    try:
        if text.count("&") >= fields_max:
            raise ValueError("Max number of fields exceeded")
        out = []
        for field in text.split("&"):
            if field:
                name, _, value = field.partition("=")
                decoded = _remembered if len(field) <= _TEXT_LENGTH_MAX else _decoded
                out.append((decoded(name), decoded(value)))
        return out
    except (ValueError, UnicodeDecodeError) as error:
        raise ParseError(
            f"parameters must be URL-encoded UTF-8, at most {fields_max} of them, got something else ({error})"
        ) from error


def query_params(scope: Scope, settings: HttpSettings, form: Sequence[tuple[str, str]] = ()) -> Params:
    """Read the parameters of an address, those of a form before them. Raises ParseError."""
    try:
        # Straight from the server: taking the whole address apart costs more than the parameters.
        text = scope["query_string"].decode()
    except UnicodeDecodeError as error:
        raise ParseError("parameters must be URL-encoded UTF-8, got other bytes") from error
    return Params([*form, *_pairs(text, settings.fields_max)], selectors_max=settings.selectors_max)


async def read_params(scope: Scope, receive: Receive, settings: HttpSettings) -> Params:
    """Read the parameters of a GET, or of a POST with a form body (which come first).

    Raises ParseError, BodyTooLargeError, BodyLateError, and QueryCancelledError for a client that left.
    """
    if scope["method"] != "POST":
        return query_params(scope, settings)
    request = Request(scope, receive)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _body(request, settings.body_bytes_max, settings.body_timeout_s)
    if body and kind != _FORM:
        raise ParseError(f"the body of a POST must be {_FORM}, got {kind or 'no content type'}")
    try:
        form = body.decode("ascii")
    except UnicodeDecodeError as error:
        raise ParseError("a form body must be URL-encoded ASCII, got other bytes") from error
    return query_params(scope, settings, _pairs(form, settings.fields_max))
