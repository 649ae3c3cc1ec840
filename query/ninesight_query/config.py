"""What a person writes about queries: the `query:` section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError, UnavailableError
from ninesight_query.settings import EngineSettings

if TYPE_CHECKING:
    from ninesight_query.remote.settings import RemoteSettings

__all__ = ["EngineConfig"]


def _duration(text: str) -> str:
    try:
        milliseconds = duration_ms(text)
    except ParseError as error:
        raise ValueError(str(error)) from None
    if milliseconds <= 0:
        raise ValueError(f"a duration must be longer than zero, got {text!r}; write 5m, 1h30m or 250ms")
    return text


Duration = Annotated[str, AfterValidator(_duration)]

_SECRET_BYTES_MAX = 1 << 16


def _address(text: str) -> str:
    if not text:
        return text
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("url must be an http or https address; write http://prometheus:9090")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "url must hold no login, query or fragment; put a login under username and password, or bearer_token"
        )
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]


class EngineConfig(BaseModel):
    """Which engine answers, its limits and its switches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Address = ""
    """A Prometheus-compatible server that answers every query; "" is the embedded engine over our store.

    What stands before `/api/v1/query`, with a path where there is one: http://mimir:8080/prometheus."""
    bearer_token: SecretStr | None = None
    """Sent to `url`."""
    bearer_token_file: Path | None = None
    """A file that holds it, read at start."""
    username: str = ""
    """Basic authentication at `url`, with `password`."""
    password: SecretStr | None = None
    tenant: str = ""
    """X-Scope-OrgID for `url` (Mimir, Cortex)."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust for `url` instead of the system's."""
    connections_max: int = Field(default=16, ge=1, le=1024)
    """Connections to `url`; more questions at once wait for one."""
    retries_max: int = Field(default=2, ge=0, le=10)
    """Further tries at `url` after a failed connection or a 502 or 503."""
    response_bytes_max: int = Field(default=256 << 20, ge=1 << 10)
    """Size of one answer of `url`, decompressed."""
    lookback: Duration = "5m"
    """How old the newest sample of a series may be and still count. Longer than the scrape interval."""
    deadline: Duration = "2m"
    """Longest evaluation of one query."""
    samples_max: int = Field(default=50_000_000, ge=1_000)
    """Samples one query may load or hold at once (8 to 24 bytes each)."""
    samples_shared_max: int = Field(default=100_000_000, ge=1_000)
    """Samples that all running queries may hold together; one more is refused as unavailable."""
    series_max: int = Field(default=200_000, ge=1)
    """Series one selector may match."""
    points_per_series_max: int = Field(default=11_000, ge=1)
    """Steps of a range query."""
    result_points_max: int = Field(default=10_000_000, ge=1)
    """Points of one answer: series x steps, or the samples of `metric[1d]`."""
    queries_max: int = Field(default=20, ge=1, le=1_024)
    """Queries evaluated at the same time; further ones wait for a place, within their deadline."""
    queries_waiting_max: int = Field(default=256, ge=0, le=65_536)
    """Queries that wait; one more is refused as unavailable."""
    query_length_max: int = Field(default=16_384, ge=1, le=65_536)
    """Characters of a query."""
    delayed_name_removal: bool = True
    """Take metric names away at the end of a query, as Prometheus does under `promql-delayed-name-removal`.

    So a query may work on several metrics at once and keep them apart by name: `rate({__name__=~"a|b"}[5m])` under
    `sum by (__name__)` or `label_replace`. Switch it off to get Prometheus' default, which refuses these."""
    use_start_timestamps: bool = False
    """Let rate, increase, irate and resets see when a counter began, where its sender says so (off in Prometheus too)."""

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        ways = [self.bearer_token is not None, self.bearer_token_file is not None, bool(self.username)]
        if sum(ways) > 1:
            raise ValueError("set one of bearer_token, bearer_token_file and username, not several")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password must be given together")
        if not self.url and (any(ways) or self.tenant or self.ca_file):
            raise ValueError("a login, tenant or ca_file must belong to a server; set url")
        return self

    def rooted(self, folder: Path) -> EngineConfig:
        """Return the same with relative paths starting at `folder`."""
        files = {"bearer_token_file": self.bearer_token_file, "ca_file": self.ca_file}
        return self.model_copy(update={key: folder / path for key, path in files.items() if path})

    def revealed(self) -> dict[str, Any]:
        """Return what a process of ours needs to build the same, secrets in clear: never log it."""
        told = self.model_dump(mode="json")
        for key, secret in (("bearer_token", self.bearer_token), ("password", self.password)):
            told[key] = None if secret is None else secret.get_secret_value()
        return told

    def remote_settings(self) -> RemoteSettings | None:
        """Return how to ask `url`, None for the embedded engine. Reads `bearer_token_file`: UnavailableError."""
        from ninesight_query.remote.settings import RemoteSettings

        if not self.url:
            return None
        return RemoteSettings(
            url=self.url,
            bearer_token=self._token(),
            username=self.username,
            password=self.password.get_secret_value() if self.password else "",
            tenant=self.tenant,
            ca_file=self.ca_file,
            timeout_s=duration_ms(self.deadline) / 1000.0,
            connections_max=self.connections_max,
            retries_max=self.retries_max,
            response_bytes_max=self.response_bytes_max,
            samples_max=self.samples_max,
            points_per_series_max=self.points_per_series_max,
            query_length_max=self.query_length_max,
        )

    def _token(self) -> str:
        if self.bearer_token is not None:
            return self.bearer_token.get_secret_value()
        if self.bearer_token_file is None:
            return ""
        try:
            with self.bearer_token_file.open(encoding="utf-8") as stream:
                token = stream.read(_SECRET_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(
                f"query.bearer_token_file must be readable text, got {self.bearer_token_file}: {error}"
            ) from error
        if not token or not token.isprintable():
            raise UnavailableError(
                f"query.bearer_token_file must hold one line with a token, {self.bearer_token_file} does not"
            )
        return token

    def settings(self) -> EngineSettings:
        """Return the same for the embedded engine."""
        return EngineSettings(
            lookback_ms=duration_ms(self.lookback),
            samples_max=self.samples_max,
            samples_shared_max=self.samples_shared_max,
            series_max=self.series_max,
            points_per_series_max=self.points_per_series_max,
            result_points_max=self.result_points_max,
            queries_max=self.queries_max,
            queries_waiting_max=self.queries_waiting_max,
            query_length_max=self.query_length_max,
            deadline_s=duration_ms(self.deadline) / 1000.0,
            delayed_name_removal=self.delayed_name_removal,
            use_start_timestamps=self.use_start_timestamps,
        )
