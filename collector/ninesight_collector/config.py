"""What a person writes about collecting. Unknown keys are refused; durations look like "15s"."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ninesight_collector.durations import Duration

__all__ = [
    "CollectorConfig",
    "GpuConfig",
    "HostConfig",
    "OtlpConfig",
    "RemoteWriteConfig",
    "RemoteWriteReceiverConfig",
    "ScenarioConfig",
    "ScrapeConfig",
]

_TARGET = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class _Model(BaseModel):
    # Defaults are seconds already; only what a person writes goes through the duration parser.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OtlpConfig(_Model):
    """The OTLP/HTTP metrics receiver, `POST /v1/metrics`."""

    enabled: bool = True
    """Whether the route is offered."""
    body_bytes_max: int = Field(default=8 << 20, ge=1 << 10)
    """Largest body in bytes, as sent and after decompression; above it the answer is 413."""
    body_timeout: Duration = 10.0
    """How long a sender may take to send its body; above it the answer is 408."""
    in_flight_max: int = Field(default=8, ge=1, le=256)
    """Requests worked on at once; above it the answer is 429 with Retry-After."""
    labels_max: int = Field(default=64, ge=4)
    """Most labels of one series; a point with more is refused."""
    label_value_bytes_max: int = Field(default=4096, ge=16)
    """Longest label value in bytes; a point with a longer one is refused."""
    resource_labels: tuple[str, ...] = ("simulated", "deployment.environment", "deployment.environment.name")
    """Resource attributes that become labels, besides service.name (job) and service.instance.id (instance)."""
    token: SecretStr | None = None
    """Bearer token that senders must show; none by default (the listener is on loopback)."""


class RemoteWriteReceiverConfig(_Model):
    """The remote-write receiver, `POST /api/v1/write`, versions 1.0 and 2.0."""

    enabled: bool = True
    """Whether the route is offered."""
    body_bytes_max: int = Field(default=16 << 20, ge=1 << 10)
    """Largest body in bytes, as sent and after decompression; above it the answer is 413."""
    body_timeout: Duration = 10.0
    """How long a sender may take to send its body; above it the answer is 408."""
    in_flight_max: int = Field(default=8, ge=1, le=256)
    """Requests worked on at once; above it the answer is 503 with Retry-After."""
    labels_max: int = Field(default=64, ge=4)
    """Most labels of one series; a series with more is refused."""
    label_value_bytes_max: int = Field(default=4096, ge=16)
    """Longest label name or value; a series with a longer one is refused."""
    token: SecretStr | None = None
    """Bearer token that senders must show; none by default (the listener is on loopback)."""


class RemoteWriteConfig(_Model):
    """One receiver that everything is sent on to, through a queue on the disk."""

    url: str
    """Where to, such as http://prometheus:9090/api/v1/write."""
    name: str = ""
    """The `target` label of its counters, and its queue's folder; host and port by default."""
    protocol: Literal["auto", "1.0", "2.0"] = "auto"
    """Version of remote write; auto asks the receiver. One that answers 415 gets 1.0."""
    native_histograms: Literal["auto", "send", "classic"] = "auto"
    """send them; as classic ones (`_bucket`, `_sum`, `_count`); auto: classic for VictoriaMetrics."""
    exemplars: bool = True
    """Whether exemplars are sent."""
    shards: int = Field(default=4, ge=1, le=64)
    """Requests under way at once; a series always goes through the same one, so its order holds."""
    samples_per_request: int = Field(default=5_000, ge=1, le=100_000)
    """Most samples of one request."""
    timeout: Duration = 30.0
    """Longest wait for an answer."""
    backoff_min: Duration = 0.1
    """First wait after a failure; doubled each time."""
    backoff_max: Duration = 30.0
    """Longest wait between two tries."""
    queue_bytes_max: int = Field(default=1 << 30, ge=1 << 20)
    """Size of the queue on the disk; above it the oldest is dropped and counted."""
    queue_age_max: Duration = 86_400.0
    """How long a sample may wait; then it is dropped and counted."""
    username: str = ""
    """Login by basic authentication."""
    password: SecretStr | None = None
    """Login by basic authentication."""
    bearer_token: SecretStr | None = None
    """Login by a token."""
    bearer_token_file: Path | None = None
    """File that holds the token; read for every request."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers added to every request, such as X-Scope-OrgID."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""

    @property
    def target(self) -> str:
        """The name, or host and port."""
        url = urlsplit(self.url)
        return self.name or url.netloc.rpartition("@")[2]

    @property
    def where(self) -> str:
        """The address without a query, which may hold a secret."""
        return self.url.partition("?")[0]

    @field_validator("url")
    @classmethod
    def _url_is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            known = False
        if not known:
            raise ValueError(
                "url must be an http or https address; write http://prometheus:9090/api/v1/write"
            )
        if parts.username is not None or parts.fragment:
            raise ValueError(
                "url must hold no login and no fragment; put a login under username and password, or bearer_token"
            )
        return url

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if name and not _TARGET.fullmatch(name):
            raise ValueError(
                f'name must be letters, digits, ".", "_", "-" or ":", at most 100, got "{name[:120]}"'
            )
        return name

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        ways = [self.bearer_token is not None, self.bearer_token_file is not None, bool(self.username)]
        if sum(ways) > 1:
            raise ValueError("set one of bearer_token, bearer_token_file and username, not several")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password must be given together")
        if self.backoff_max < self.backoff_min:
            raise ValueError("backoff_max must not be below backoff_min")
        return self

    def rooted(self, folder: Path) -> RemoteWriteConfig:
        """Return the same with relative paths starting at `folder`."""
        files = {"bearer_token_file": self.bearer_token_file, "ca_file": self.ca_file}
        return self.model_copy(update={key: folder / path for key, path in files.items() if path})


class ScrapeConfig(_Model):
    """One job: targets that expose Prometheus or OpenMetrics text."""

    job: str = Field(min_length=1)
    """The `job` label."""
    targets: tuple[str, ...] = Field(min_length=1)
    """`host:port`, or a whole http(s) URL (then `scheme` and `path` are not used)."""
    path: str = "/metrics"
    """Path of a `host:port` target."""
    scheme: Literal["http", "https"] = "http"
    """Scheme of a `host:port` target."""
    interval: Duration = 15.0
    """Time between two scrapes of a target."""
    timeout: Duration | None = None
    """Longest wait for a target; by default 10s, or the interval if that is shorter."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels added to every series of the job."""
    honour_labels: bool = Field(default=False, validation_alias=AliasChoices("honour_labels", "honor_labels"))
    """Keep a label of the page where it clashes with one of ours; otherwise it becomes `exported_<name>`."""
    body_bytes_max: int = Field(default=16 << 20, ge=1 << 10)
    """Largest page in bytes, as sent and after decompression."""
    series_max: int = Field(default=50_000, ge=1)
    """Most series of one page; a page with more counts as down."""
    labels_max: int = Field(default=64, ge=4)
    """Most labels of one series; a page with more counts as down."""
    label_value_bytes_max: int = Field(default=4096, ge=16)
    """Longest label value in bytes."""
    native_histograms: bool = True
    """Ask first for the protobuf format, the one that carries native histograms."""
    classic_histograms: bool = False
    """Keep the classic buckets of a histogram that has native ones, too."""
    follow_redirects: bool = True
    """Follow up to 3 redirects, on the same host only."""

    @field_validator("path")
    @classmethod
    def _path_is_absolute(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f'path must begin with "/", got "{path}"')
        return path

    @field_validator("targets")
    @classmethod
    def _targets_are_addresses(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            _check_target(target)
        return targets

    @field_validator("labels")
    @classmethod
    def _labels_have_names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                raise ValueError(
                    f'a label name must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with "__", got "{name}"'
                )
        return labels

    @model_validator(mode="after")
    def _timeout_fits(self) -> Self:
        if self.timeout is not None and self.timeout > self.interval:
            raise ValueError(
                f"timeout must not be above interval ({self.interval:g}s), got {self.timeout:g}s"
            )
        return self

    @property
    def timeout_s(self) -> float:
        """The effective timeout in seconds."""
        return self.timeout if self.timeout is not None else min(10.0, self.interval)


class ScenarioConfig(_Model):
    """A simulated GPU node. Everything sampled from it carries `simulated="true"`."""

    name: str = "Simulated H100 80GB"
    """Device name; must begin with "Simulated"."""
    gpus: int = Field(default=1, ge=1, le=64)
    """Number of devices."""
    memory_total_bytes: int = Field(default=80 << 30, ge=1 << 20)
    """Memory of each device, bytes."""
    memory_used_bytes: int = Field(default=18 << 30, ge=0)
    """Memory in use where the file says nothing, bytes."""
    idle_watts: float = Field(default=70.0, ge=0)
    """Power at utilisation 0, watts."""
    max_watts: float = Field(default=700.0, gt=0)
    """Power at utilisation 1, watts."""
    utilization: float = Field(default=0.0, ge=0, le=1)
    """Utilisation 0-1 where no file and no function says otherwise."""
    file: str | None = None
    """JSON file, read again when it changes: `{"gpus": [{"utilization": 0.7, "memory_used_bytes": 1, "processes": [...]}]}`."""

    @field_validator("name")
    @classmethod
    def _name_says_so(cls, name: str) -> str:
        if not name.startswith("Simulated"):
            raise ValueError(f'the name of a simulated GPU must begin with "Simulated", got "{name}"')
        return name

    @model_validator(mode="after")
    def _bounds_hold(self) -> Self:
        if self.memory_used_bytes > self.memory_total_bytes:
            raise ValueError(
                f"memory_used_bytes must not be above memory_total_bytes ({self.memory_total_bytes}), "
                f"got {self.memory_used_bytes}"
            )
        if self.idle_watts > self.max_watts:
            raise ValueError(
                f"idle_watts must not be above max_watts ({self.max_watts:g}), got {self.idle_watts:g}"
            )
        return self


class GpuConfig(_Model):
    """GPUs through NVML."""

    mode: Literal["auto", "nvml", "simulated", "off"] = "auto"
    """auto: read the driver if there is one, else say so (never simulate); nvml: a driver must be there;
    simulated: a labelled stand-in; off."""
    interval: Duration = 5.0
    """Time between two samples."""
    scenario: ScenarioConfig = Field(default_factory=ScenarioConfig)
    """The simulated node, for mode simulated."""


class HostConfig(_Model):
    """CPU and memory of this host."""

    enabled: bool = True
    """Whether to sample it."""
    interval: Duration = 5.0
    """Time between two samples."""


class CollectorConfig(_Model):
    """Everything the collector can be told."""

    instance: str = ""
    """The `instance` label of this host's own series; the host name by default."""
    otlp: OtlpConfig = Field(default_factory=OtlpConfig)
    remote_write_receiver: RemoteWriteReceiverConfig = Field(default_factory=RemoteWriteReceiverConfig)
    remote_write: tuple[RemoteWriteConfig, ...] = ()
    """Receivers that everything is sent on to."""
    keep: bool | None = None
    """Whether samples go into the own store; by default yes, unless they are sent on and another engine answers."""
    scrape: tuple[ScrapeConfig, ...] = ()
    gpu: GpuConfig = Field(default_factory=GpuConfig)
    host: HostConfig = Field(default_factory=HostConfig)
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Threads that scrape and sample."""
    retry_batches_max: int = Field(default=512, ge=1)
    """Batches kept for another try while the sink refuses; above it the oldest is dropped and counted."""

    def rooted(self, folder: Path) -> CollectorConfig:
        """Return the same with relative paths starting at `folder`."""
        sent = tuple(one.rooted(folder) for one in self.remote_write)
        return self.model_copy(update={"remote_write": sent})

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        names = [one.target for one in self.remote_write]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"each remote_write needs a name of its own, got {', '.join(twice)} more than once; set name"
            )
        if self.keep is False and not self.remote_write:
            raise ValueError("keep: false needs somewhere to send to; set remote_write")
        return self

    @model_validator(mode="after")
    def _jobs_differ(self) -> Self:
        names = [scrape.job for scrape in self.scrape]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"each scrape job must have a name of its own, got {', '.join(twice)} more than once"
            )
        return self


def _check_target(target: str) -> None:
    url = urlsplit(target if "://" in target else f"http://{target}")
    if url.scheme not in ("http", "https"):
        raise ValueError(f'a target must be host:port or an http(s) URL, got the scheme "{url.scheme}"')
    if not url.hostname or (" " in target):
        raise ValueError(f'a target must be host:port or an http(s) URL, got "{target}"')
    if url.username or url.password:
        raise ValueError("a target must not carry credentials in its URL; remove the part before the @")
    if "://" not in target and (url.path or url.query):
        raise ValueError(
            f'a target without a scheme must be host:port alone, got "{target}"; use path for the path'
        )
    try:
        port = url.port
    except ValueError:
        port = -1
    if port == -1:
        raise ValueError(f'the port of a target must be 1-65535, got "{target}"')
