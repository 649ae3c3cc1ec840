"""The bytes that a sender pushes: read under a cap and a time limit."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from ninesight_collector.errors import BodyError

__all__ = ["read_body", "too_large"]

_DRAIN_FACTOR = 4


async def read_body(request: Request, *, bytes_max: int, timeout_s: float, key: str) -> bytes:
    """Return the body as sent. Raises BodyError above the cap (the setting `key` raises it) or past the timeout.

    An oversized body is read on for a while and thrown away, so that the sender sees the answer.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > bytes_max * _DRAIN_FACTOR:
                    break
                if size <= bytes_max:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError as error:
        raise BodyError(
            f"the body must arrive within {timeout_s:g}s, got {size} bytes of it",
            status=408,
            reason="slow",
        ) from error
    except ClientDisconnect as error:
        raise BodyError(
            "the body must be complete, the sender left", status=400, reason="disconnect"
        ) from error
    if size > bytes_max:
        raise too_large(bytes_max, "", key)
    return b"".join(parts)


def too_large(limit: int, when: str, key: str) -> BodyError:
    """Return the error for a body above the limit; `when` says at which stage."""
    return BodyError(
        f"the body must not be above {limit} bytes{when}; send smaller batches or raise {key}",
        status=413,
        reason="size",
    )
