"""Keeps OpenTelemetry's exporters quiet: their log lines are told once by us, their requests are not traced."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ninesight.forks import importing

__all__ = ["Hush", "untraced"]

_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "urllib3.connectionpool",
)


@contextmanager
def untraced() -> Iterator[None]:
    """Have an application that traces its own requests not trace ours."""
    with importing():
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        detach(token)


class Hush(logging.Filter):
    """Keeps the transport's log lines of this thread to itself: we tell a failure once, and count the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self._thread = threading.get_ident()

    @property
    def refused(self) -> bool:
        """True when the last line tells of a status that no repetition changes: 4xx but 429."""
        return re.search(r"code: 4(?!29)\d\d", self.last) is not None

    def filter(self, record: logging.LogRecord) -> bool:
        """Swallow and remember what this thread logs; let all else through."""
        if threading.get_ident() != self._thread:
            return True
        self.last = record.getMessage()
        return False

    def __enter__(self) -> Self:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
