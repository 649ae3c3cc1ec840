"""One line per request: what the client saw and what the server said it recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

__all__ = ["LoadLog", "RequestRecord", "read_log", "server_seconds"]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. Times in seconds."""

    at_s: float
    """Unix time at which it was sent."""
    model: str
    status: int
    """HTTP status; 0 when no answer came."""
    client_s: float
    """From sending to the whole answer."""
    server_s: float | None
    """`Server-Timing: app`: exactly what the server's SDK recorded; None where it gave none."""
    rows: int
    error: str = ""


@dataclass
class LoadLog:
    """Counts what happened and writes each record to a file, if there is one."""

    file: IO[str] | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    client_s: list[float] = field(default_factory=list)

    def add(self, record: RequestRecord) -> None:
        """Keep one record."""
        self.statuses[record.status] += 1
        if record.status == 200:
            self.client_s.append(record.client_s)
        if self.file:
            self.file.write(json.dumps(asdict(record)) + "\n")

    def percentile_s(self, quantile: float) -> float | None:
        """Nearest-rank percentile of the successful answers as the client saw them; None without any."""
        if not self.client_s:
            return None
        ordered = sorted(self.client_s)
        return ordered[max(0, -(-len(ordered) * int(quantile * 1000) // 1000) - 1)]


def read_log(path: Path) -> list[RequestRecord]:
    """Read a log back. A last line cut short by a kill is left out."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(RequestRecord(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return records


def server_seconds(header: str | None) -> float | None:
    """Read `app;dur=12.5` (milliseconds) of a Server-Timing header as seconds; None where it is absent or odd."""
    for metric in (header or "").split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        if name == "app":
            return _duration_s(parameters)
    return None


def _duration_s(parameters: Iterable[str]) -> float | None:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "dur":
            try:
                return float(value.strip('"')) / 1000.0
            except ValueError:
                return None
    return None
