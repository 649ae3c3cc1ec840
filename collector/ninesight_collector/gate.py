"""Who may push, and how many at once."""

from __future__ import annotations

import hmac
import threading

from starlette.requests import Request

__all__ = ["Gate"]


class Gate:
    """Knows a bearer token and counts those inside. Thread-safe."""

    def __init__(self, token: str, in_flight_max: int) -> None:
        self._token = token.encode()
        self._in_flight_max = in_flight_max
        self._lock = threading.Lock()
        self._in_flight = 0

    def knows(self, request: Request) -> bool:
        """Say whether the request shows the token; compared in constant time. Without a token everybody may."""
        if not self._token:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(), self._token)
        return same and scheme.lower() == "bearer"

    def enter(self) -> bool:
        """Take a place, if there is one; `leave` gives it back."""
        with self._lock:
            if self._in_flight >= self._in_flight_max:
                return False
            self._in_flight += 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._in_flight -= 1
