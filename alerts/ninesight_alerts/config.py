"""What a person writes under `alerts:`. Durations are texts like `15s`; every key has a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ninesight_alerts.channel import WebhookSettings
from ninesight_alerts.durations import Duration, duration_ms
from ninesight_alerts.errors import ReceiverError
from ninesight_alerts.grouping import ReceiverRoute, Routing
from ninesight_alerts.sender import SenderSettings
from ninesight_alerts.signing import secret_key
from ninesight_alerts.targets import check_url

__all__ = ["AlertsConfig", "ReceiverConfig"]

SECRET_FILE_BYTES_MAX = 4096
_LEASE_MARGIN_MS = 15_000
"""Name resolution is not under the attempt's deadline; a lease that ends too soon costs a double with the same id."""


class ReceiverConfig(BaseModel):
    """One webhook that is told of alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200)
    """Its name in messages, the ledger and `receiver` of the body."""
    url: SecretStr
    """http:// or https://, no user or password in it. Its path counts as secret and is never logged."""
    secret: SecretStr | None = None
    """`whsec_...`: signs each message after Standard Webhooks. None: unsigned."""
    secret_file: Path | None = None
    """A file that holds the secret; read at start. Not together with `secret`."""
    allow_private: bool = False
    """True lets it be a loopback or private address."""
    send_resolved: bool = True
    """False leaves out the end of alerts."""
    timeout: Duration = "10s"
    """For one attempt as a whole, 100ms to 60s."""
    max_alerts: int = Field(default=1000, ge=1, le=10_000)
    """Alerts a message carries; more are counted in `truncatedAlerts`."""

    @field_validator("timeout")
    @classmethod
    def _timeout_bounded(cls, text: str) -> str:
        if not 100 <= duration_ms(text) <= 60_000:
            raise ValueError(f"timeout must be 100ms to 60s, got {text}")
        return text

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError(f"receiver {self.name!r}: set secret or secret_file, not both")
        try:
            check_url(self.url.get_secret_value(), allow_private=self.allow_private)
            if self.secret is not None:
                secret_key(self.secret.get_secret_value())
        except ReceiverError as error:
            raise ValueError(f"receiver {self.name!r}: {error}") from None
        return self

    def settings(self) -> WebhookSettings:
        """Return what the channel needs; reads `secret_file`. Raises ReceiverError."""
        return WebhookSettings(
            name=self.name,
            url=self.url.get_secret_value(),
            key=self._key(),
            allow_private=self.allow_private,
            timeout_s=duration_ms(self.timeout) / 1000,
        )

    def _key(self) -> bytes | None:
        if self.secret is not None:
            return secret_key(self.secret.get_secret_value())
        if self.secret_file is None:
            return None
        try:
            with self.secret_file.open("rb") as stream:
                content = stream.read(SECRET_FILE_BYTES_MAX)
        except OSError as error:
            raise ReceiverError(
                f"receiver {self.name!r}: secret_file must be readable, got {self.secret_file}: {error.strerror}"
            ) from None
        try:
            return secret_key(content.decode("ascii", "replace").strip())
        except ReceiverError as error:
            raise ReceiverError(f"receiver {self.name!r}: secret_file {self.secret_file}: {error}") from None


class AlertsConfig(BaseModel):
    """Rules, receivers, and how alerts become messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rule_files: tuple[str, ...] = ()
    """Prometheus rule files; patterns like `rules/*.yml` are allowed."""
    evaluation_interval: Duration = "15s"
    """How often a group is evaluated that names no interval; at least 100ms."""
    receivers: Annotated[tuple[ReceiverConfig, ...], Field(max_length=50)] = ()
    """Each is told of every alert. None: alerts are shown and kept, nobody is told."""
    group_by: tuple[str, ...] = ("alertname", "model")
    """Alerts with equal values of these labels share a message; `...` is a message for each alert."""
    group_wait: Duration = "0s"
    """How long a new group waits for more alerts before it is told."""
    repeat_interval: Duration = "4h"
    """How often a group that still fires is told again; 0 is never."""
    external_url: str = ""
    """Where people reach these pages; the base of links in messages."""
    attempts_max: int = Field(default=300, ge=1, le=10_000)
    """A notification tried this often is a dead letter; 300 is about a day."""
    backoff_min: Duration = "1s"
    """The wait after the first attempt that did not succeed; it doubles up to `backoff_max`."""
    backoff_max: Duration = "5m"
    """The longest wait between two attempts."""
    history: Duration = "90d"
    """How long resolved alerts, finished notifications and attempts are kept."""

    @field_validator("external_url")
    @classmethod
    def _plain_url(cls, text: str) -> str:
        if text and not text.startswith(("http://", "https://")):
            raise ValueError(f"external_url must begin with http:// or https://, got {text!r}")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"receivers must have unique names, {name!r} occurs twice; rename one")
        if duration_ms(self.evaluation_interval) < 100:
            raise ValueError(f"evaluation_interval must be at least 100ms, got {self.evaluation_interval}")
        if not 1 <= duration_ms(self.backoff_min) <= duration_ms(self.backoff_max):
            raise ValueError(
                f"backoff_min must be at least 1ms and at most backoff_max ({self.backoff_max}), got {self.backoff_min}"
            )
        if duration_ms(self.history) < 3_600_000:
            raise ValueError(f"history must be at least 1h, got {self.history}")
        return self

    def routing(self) -> Routing:
        """Return how alerts become messages."""
        return Routing(
            tuple(ReceiverRoute(item.name, item.send_resolved, item.max_alerts) for item in self.receivers),
            self.group_by,
            duration_ms(self.group_wait),
            duration_ms(self.repeat_interval),
        )

    def sender_settings(self, receiver: ReceiverConfig) -> SenderSettings:
        """Return how hard to try for one receiver."""
        return SenderSettings(
            backoff_s_min=duration_ms(self.backoff_min) / 1000,
            backoff_s_max=duration_ms(self.backoff_max) / 1000,
            attempts_max=self.attempts_max,
            lease_ms=duration_ms(receiver.timeout) + _LEASE_MARGIN_MS,
        )
