"""One request to one receiver, and what its answer means.

2xx               sent
5xx, 429          later (Retry-After is honoured); no answer at all likewise
415               not this version
anything else     refused: never sent again, as the specification wants it
"""

from __future__ import annotations

import email.utils
import enum
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from ninesight_collector.errors import ConfigError
from ninesight_collector.trust import system_trust

__all__ = ["ClientSettings", "Outcome", "Reply", "WriteClient"]

_VERSION_HEADERS = {
    1: {"Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"},
    2: {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
_WRITTEN = "x-prometheus-remote-write-{}-written"
_ANSWER_BYTES_MAX = 4096
_RETRY_AFTER_S_MAX = 300.0


class Outcome(enum.Enum):
    """What became of a request."""

    SENT = "sent"
    LATER = "later"
    WRONG_VERSION = "wrong version"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or the lack of one."""

    outcome: Outcome
    reason: str
    """HTTP status, or connect, timeout: a counter's label."""
    text: str = ""
    """What the receiver said, for people."""
    retry_after_s: float = 0.0
    written: tuple[int, int, int] | None = None
    """Samples, histograms, exemplars, where the receiver says it: only one of 2.0 must."""
    victoria_metrics: bool = False


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where to, and with which login. Secrets are not in the repr."""

    url: str
    timeout_s: float = 30.0
    connections_max: int = 4
    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    bearer_token_file: Path | None = None
    """Read again for every request: tokens are renewed."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None


class WriteClient:
    """Sends to one address over pooled connections. Safe to call from many threads; raises nothing."""

    def __init__(self, settings: ClientSettings, *, transport: httpx2.BaseTransport | None = None) -> None:
        """Raises ConfigError for a `ca_file` that is none."""
        self._settings = settings
        headers = {"User-Agent": "ninesight", "Content-Encoding": "snappy", **settings.headers}
        if settings.bearer_token:
            headers["Authorization"] = f"Bearer {settings.bearer_token}"
        self._client = httpx2.Client(
            headers=headers,
            auth=(settings.username, settings.password) if settings.username else None,
            limits=httpx2.Limits(
                max_connections=settings.connections_max, max_keepalive_connections=settings.connections_max
            ),
            timeout=httpx2.Timeout(settings.timeout_s, connect=min(5.0, settings.timeout_s)),
            verify=_trusted(settings.ca_file),
            # A proxy or a netrc of the environment must not get what is meant for this server.
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    def post(self, body: bytes, version: int) -> Reply:
        """Send one compressed request."""
        headers = dict(_VERSION_HEADERS[version])
        try:
            if self._settings.bearer_token_file is not None:
                headers["Authorization"] = f"Bearer {_token(self._settings.bearer_token_file)}"
            with self._client.stream("POST", self._settings.url, content=body, headers=headers) as response:
                return _reply(response, _capped(response))
        except httpx2.TimeoutException:
            return Reply(Outcome.LATER, "timeout", f"no answer within {self._settings.timeout_s:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Reply(Outcome.LATER, "connect", str(error)[:300] or type(error).__name__)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _reply(response: httpx2.Response, text: str) -> Reply:
    status, headers = response.status_code, response.headers
    reason = str(status)
    theirs = "x-server-hostname" in headers
    if response.is_success:
        return Reply(Outcome.SENT, reason, text, 0.0, _written(headers), theirs)
    if status == 429 or status >= 500:
        return Reply(Outcome.LATER, reason, text, _retry_after_s(headers.get("retry-after", "")))
    if status == 415:
        return Reply(Outcome.WRONG_VERSION, reason, text)
    return Reply(Outcome.REFUSED, reason, text, 0.0, _written(headers), theirs)


def _written(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    found = [headers.get(_WRITTEN.format(kind), "") for kind in ("samples", "histograms", "exemplars")]
    if not any(found):
        return None
    samples, histograms, exemplars = (int(one) if one.isascii() and one.isdigit() else 0 for one in found)
    return samples, histograms, exemplars


def _retry_after_s(text: str) -> float:
    """Return seconds of "120" or of a date; 0 for anything else."""
    if text.strip().isdigit():
        return min(float(text), _RETRY_AFTER_S_MAX)
    try:
        left = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(left, 0.0), _RETRY_AFTER_S_MAX)


def _capped(response: httpx2.Response) -> str:
    parts = bytearray()
    for chunk in response.iter_bytes():
        parts += chunk
        if len(parts) > _ANSWER_BYTES_MAX:
            break
    return bytes(parts[:_ANSWER_BYTES_MAX]).decode("utf-8", "replace").strip()[:500]


def _token(path: Path) -> str:
    with path.open(encoding="utf-8") as stream:
        token = stream.read(1 << 16).strip()
    if not token or not token.isprintable():
        raise ValueError(f"bearer_token_file must hold one line with a token, {path} does not")
    return token


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return system_trust()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"remote_write.ca_file must be a file of PEM certificates, got {ca_file}: {error}"
        ) from error
