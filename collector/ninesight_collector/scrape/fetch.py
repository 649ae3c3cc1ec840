"""Get one page over HTTP: capped, within its time, redirected only on its own host."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx2

from ninesight_collector.errors import ScrapeError
from ninesight_collector.inflate import InflateError, Inflater, InflateSizeError
from ninesight_collector.trust import system_trust

__all__ = ["Page", "fetch", "scrape_client"]

_TEXT = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
_PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
_REDIRECTS_MAX = 3
_FORMS: dict[str, Literal["text", "open_metrics", "protobuf"]] = {
    "application/openmetrics-text": "open_metrics",
    "application/vnd.google.protobuf": "protobuf",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What a target answered, and in which form it says that it is."""

    body: bytes
    form: Literal["text", "open_metrics", "protobuf"]

    def text(self) -> str:
        """Return the body as text. Raises ScrapeError."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise ScrapeError(
                f"a page must be UTF-8 text, got something else ({error.reason})", reason="encoding"
            ) from error


def scrape_client() -> httpx2.Client:
    """Return the client for all targets: pooled connections, no proxy and no netrc from the environment."""
    limits = httpx2.Limits(max_connections=256, max_keepalive_connections=256, keepalive_expiry=120)
    return httpx2.Client(limits=limits, verify=system_trust(), trust_env=False, follow_redirects=False)


def fetch(
    client: httpx2.Client,
    url: str,
    *,
    timeout_s: float,
    bytes_max: int,
    follow_redirects: bool = True,
    protobuf: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
) -> Page:
    """Return the page at an address. Raises ScrapeError with a reason for everything that can go wrong."""
    deadline = monotonic() + timeout_s
    address = httpx2.URL(url)
    try:
        for _ in range(_REDIRECTS_MAX + 1):
            headers = {
                "Accept": f"{_PROTOBUF},{_TEXT}" if protobuf else _TEXT,
                "Accept-Encoding": "gzip",
                "User-Agent": "ninesight-collector",
                "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_s:g}",
            }
            wait_s = max(deadline - monotonic(), 0.001)
            with client.stream("GET", address, headers=headers, timeout=wait_s) as response:
                if response.is_redirect:
                    address = _redirected(address, response, follow=follow_redirects)
                    continue
                return _page(response, bytes_max, deadline, monotonic)
    except httpx2.TimeoutException as error:
        raise ScrapeError(
            f"the target must answer within {timeout_s:g}s, it did not", reason="timeout"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        text = str(error) or type(error).__name__
        raise ScrapeError(f"the target could not be asked: {text}", reason="connect") from error
    raise ScrapeError(f"a target may redirect at most {_REDIRECTS_MAX} times, it did more", reason="redirect")


def _redirected(address: httpx2.URL, response: httpx2.Response, *, follow: bool) -> httpx2.URL:
    if not follow:
        raise ScrapeError("the target redirects, and follow_redirects is off", reason="redirect")
    aim = address.join(response.headers.get("location", ""))
    if aim.scheme not in ("http", "https") or aim.host != address.host:
        raise ScrapeError(
            f"a redirect must stay on {address.scheme}://{address.host}, got {aim.scheme}://{aim.host}; "
            "name the final address as the target",
            reason="redirect",
        )
    if address.scheme == "https" and aim.scheme == "http":
        raise ScrapeError("a redirect must not leave https", reason="redirect")
    return aim


def _page(response: httpx2.Response, bytes_max: int, deadline: float, monotonic: Callable[[], float]) -> Page:
    if response.status_code != 200:
        raise ScrapeError(f"the target must answer 200, got {response.status_code}", reason="status")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise ScrapeError(f'the page must be gzip or plain, got "{encoding[:40]}"', reason="encoding")
    inflater = Inflater(bytes_max) if encoding == "gzip" else None
    parts: list[bytes] = []
    size = 0
    try:
        for raw in response.iter_raw():
            part = inflater.feed(raw) if inflater else raw
            size += len(part)
            if size > bytes_max:
                raise InflateSizeError("")
            if monotonic() > deadline:
                raise ScrapeError("the page must arrive within the timeout, it did not", reason="timeout")
            parts.append(part)
        if inflater:
            inflater.end()
    except InflateSizeError as error:
        raise ScrapeError(f"a page must not be above {bytes_max} bytes, got more", reason="size") from error
    except InflateError as error:
        raise ScrapeError(str(error), reason="encoding") from error
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Page(b"".join(parts), _FORMS.get(kind, "text"))
