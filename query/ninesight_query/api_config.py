"""What a person writes about the HTTP API: the `api:` section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ninesight_query.errors import UnavailableError

__all__ = ["ApiConfig"]

_TOKEN_BYTES_MAX = 4096
_TOKEN_CHARACTERS_MIN = 8


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or text != f"{parts.scheme}://{parts.netloc}" or "*" in text:
        raise ValueError(
            f"an origin must be scheme, host and port alone, got {text!r}; write https://grafana.example:3000"
        )
    return text


class ApiConfig(BaseModel):
    """Who may ask the HTTP API. Receivers have tokens of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token: SecretStr | None = None
    """Bearer token that every request must show, but health checks and receivers with their own token."""
    token_file: Path | None = None
    """A file that holds it, read at start. Not together with `token`."""
    origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], Field(max_length=100)] = ()
    """Other sites whose pages may read replies (CORS), as `https://grafana.example`; none by default."""

    workers: int = Field(default=4, ge=1, le=64)
    """Queries answered at the same time; further ones wait."""
    waiting_max: int = Field(default=256, ge=0, le=4096)
    """Queries that wait; one more is answered 503."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("set token or token_file, not both")
        if self.token is not None:
            _checked(self.token.get_secret_value(), "token")
        return self

    def rooted(self, folder: Path) -> ApiConfig:
        """Return the same with a relative path starting at `folder`."""
        return self.model_copy(update={"token_file": folder / self.token_file}) if self.token_file else self

    def secret(self) -> str:
        """Return the token, "" for none. Reads `token_file`: UnavailableError."""
        if self.token is not None:
            return self.token.get_secret_value()
        if self.token_file is None:
            return ""
        try:
            with self.token_file.open(encoding="utf-8") as stream:
                text = stream.read(_TOKEN_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(
                f"api.token_file must be readable text, got {self.token_file}: {error}"
            ) from error
        try:
            return _checked(text, f"the text of {self.token_file}")
        except ValueError as error:
            raise UnavailableError(f"api.token_file: {error}") from None


def _checked(token: str, what: str) -> str:
    if len(token) < _TOKEN_CHARACTERS_MIN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(
            f"{what} must be at least {_TOKEN_CHARACTERS_MIN} ASCII characters without blanks; "
            "make one with: openssl rand -hex 24"
        )
    return token
