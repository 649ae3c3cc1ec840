"""For tests: a real suite and a real reference server in processes of their own, on ports of their own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import yaml

from ninesight_suite.child import Child, wait_until_ready

__all__ = [
    "BROWSER_ARGUMENTS",
    "RunningServer",
    "RunningSuite",
    "eventually",
    "gauge_request",
    "now_ms",
    "push",
    "running_server",
    "running_suite",
]

BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""How tests start Chromium: no window, and no connection but to the page."""

_Found = TypeVar("_Found")


def eventually(look: Callable[[], _Found | None], *, timeout_s: float = 60.0, what: str = "it") -> _Found:
    """Return the first result that is neither None nor False nor empty. Raises AssertionError when time runs out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {timeout_s:g} s")


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def gauge_request(name: str, value: float, at_ms: int, **attributes: str) -> bytes:
    """Return an OTLP request with one gauge point, job="test"."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "test"
    metric = resource.scope_metrics.add().metrics.add(name=name)
    point = metric.gauge.data_points.add(time_unix_nano=at_ms * 1_000_000, as_double=value)
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return request.SerializeToString()


def push(client: httpx2.Client, api_url: str, body: bytes) -> httpx2.Response:
    """Send an OTLP request; 200 means that it is durable."""
    headers = {"Content-Type": "application/x-protobuf"}
    return client.post(f"{api_url}/v1/metrics", content=body, headers=headers)


@dataclass
class RunningSuite:
    """A suite under test."""

    child: Child
    api_url: str
    pages_url: str
    client: httpx2.Client

    def query(self, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """Return the result rows of an instant query. Raises AssertionError unless it succeeded."""
        form = {"query": expression} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
        answer = self.client.post(f"{self.api_url}/api/v1/query", data=form)
        body: dict[str, Any] = answer.json()
        assert body["status"] == "success", body
        rows: list[dict[str, Any]] = body["data"]["result"]
        return rows

    def value(self, expression: str, at_s: float | None = None) -> float | None:
        """Return the first row's value of a vector, or None without rows."""
        rows = self.query(expression, at_s)
        return float(rows[0]["value"][1]) if rows else None


@contextmanager
def running_suite(folder: Path, config: Mapping[str, Any] | None = None) -> Iterator[RunningSuite]:
    """Run `ninesight up` on free ports with its data in `folder`; log in `folder/suite.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ninesight.yaml"
    free = {"data_dir": "data", "listen": "127.0.0.1:0", "pages_listen": "127.0.0.1:0"}
    path.write_text(yaml.safe_dump({**free, **(config or {})}))
    log = folder / "suite.log"
    log.write_bytes(b"")
    child = Child("suite", ["ninesight_suite.demo.process", "up", "--config", str(path)], log=log)
    try:
        api_url = _named(child, r"API\s+(http://[\d.:]+)")
        pages_url = _named(child, r"pages\s+(http://[\d.:]+)")
        wait_until_ready(child, f"{api_url}/-/ready", timeout_s=90.0)
        with httpx2.Client(timeout=60.0) as client:
            yield RunningSuite(child, api_url, pages_url, client)
    finally:
        child.stop()


@dataclass
class RunningServer:
    """A reference server under test."""

    child: Child
    url: str


@contextmanager
def running_server(
    folder: Path,
    *,
    otlp_url: str | None = None,
    service: str = "reference-server",
    options: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run `ninesight serve` on a free port, pushing its metrics every second if `otlp_url` is given."""
    env = {"OTEL_SERVICE_NAME": service, "NINESIGHT_EXPORT_INTERVAL_S": "1"}
    if otlp_url:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp_url
    log = folder / "server.log"
    words = ["serve", "--port", "0", "--faults", "--accelerator", "0", *options]
    child = Child("server", ["ninesight_suite.demo.process", *words], env=env, log=log)
    try:
        url = _named(child, r"serving on (http://\S+)")
        wait_until_ready(child, f"{url}/v2/health/ready", timeout_s=90.0)
        yield RunningServer(child, url)
    finally:
        child.stop()


def _named(child: Child, pattern: str) -> str:
    """Wait for a line of the log that names an address."""

    def look() -> str | None:
        assert child.exit_code is None, f"{child.name} ended with {child.exit_code}:\n{child.tail(40)}"
        found = re.search(pattern, child.tail(200))
        return found.group(1) if found else None

    return eventually(look, timeout_s=90.0, what=f"the address of the {child.name}")
