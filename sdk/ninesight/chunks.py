"""Reads OpenAI-style answers: which chunk carries a token, and what the usage object says.

Taken are dicts and objects (`choices`, `usage`), and server-sent events as text or bytes. The first
item of a stream decides how the others are read; anything else counts as one item a piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Reader", "openai_usage", "reader_for"]

Reader = Callable[[Any], tuple[int, Mapping[str, object] | None]]
"""item -> (tokens given with it, usage {input, output, cached} or None)."""

_EVENT_BYTES_MAX = 1 << 20
_CONTENT = re.compile(r'"(?:content|text|reasoning_content|arguments)"\s*:\s*"(?!")')
_USAGE = re.compile(r'"usage"\s*:\s*\{')


def reader_for(first: object) -> Reader | None:
    """Return how to read a stream that begins with this item; None for items of no known kind."""
    if isinstance(first, str | bytes):
        text = first if isinstance(first, str) else first.decode("utf-8", "replace")
        return _read_event if text.lstrip().startswith("data:") else None
    if _get(first, "choices") is not None:
        return _read_chunk
    return None


def openai_usage(answer: object) -> dict[str, object] | None:
    """Return {input, output, cached} of an answer or chunk that carries `usage`; None without."""
    usage = _get(answer, "usage")
    if usage is None:
        return None
    details = _get(usage, "prompt_tokens_details")
    return {
        "input": _first(usage, "prompt_tokens", "input_tokens"),
        "output": _first(usage, "completion_tokens", "output_tokens"),
        "cached": (_get(details, "cached_tokens") if details is not None else 0) or 0,
    }


def _read_chunk(chunk: Any) -> tuple[int, Mapping[str, object] | None]:
    return int(any(map(_has_content, _get(chunk, "choices") or ()))), openai_usage(chunk)


def _has_content(choice: object) -> bool:
    if _get(choice, "text"):
        return True
    delta = _get(choice, "delta")
    return delta is not None and any(
        _get(delta, name) for name in ("content", "reasoning_content", "tool_calls")
    )


def _read_event(event: Any) -> tuple[int, Mapping[str, object] | None]:
    """Look into server-sent events without decoding them; only one with a usage object is parsed."""
    text = event if isinstance(event, str) else bytes(event).decode("utf-8", "replace")
    usage = None
    if len(text) <= _EVENT_BYTES_MAX and _USAGE.search(text):
        usage = _usage_of_event(text)
    return sum(bool(_CONTENT.search(line)) for line in text.splitlines() if line.startswith("data:")), usage


def _usage_of_event(text: str) -> dict[str, object] | None:
    import json

    for line in text.splitlines():
        if line.startswith("data:") and _USAGE.search(line):
            try:
                return openai_usage(json.loads(line[5:]))
            except (ValueError, RecursionError):
                return None
    return None


def _get(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _first(thing: object, *names: str) -> object:
    return next((found for name in names if (found := _get(thing, name)) is not None), 0)
