"""The engine of a configuration: the embedded one, or the server that `query.url` names."""

from __future__ import annotations

from collections.abc import Callable

from ninesight_query.contract import Engine
from ninesight_query.engine import LocalEngine
from ninesight_query.errors import QueryError
from ninesight_query.remote import RemoteEngine
from ninesight_store.contract import Source

from ninesight_suite.config import SuiteConfig
from ninesight_suite.errors import ConfigError

__all__ = ["api_token", "close_engine", "engine_for"]


def engine_for(
    config: SuiteConfig, source: Callable[[], Source], *, now_ms: Callable[[], int] | None = None
) -> Engine:
    """Return the engine; `source` is opened only where the embedded one reads it. Raises ConfigError."""
    try:
        remote = config.query.remote_settings()
        if remote is not None:
            return RemoteEngine(remote)
    except QueryError as error:
        raise ConfigError(str(error)) from error
    return LocalEngine(source(), settings=config.query.settings(), now_ms=now_ms)


def api_token(config: SuiteConfig) -> str:
    """Return the token that who asks the API must show, "" for none. Raises ConfigError."""
    try:
        return config.api.secret()
    except QueryError as error:
        raise ConfigError(str(error)) from error


def close_engine(engine: Engine) -> None:
    """Close the connections of a remote engine; the embedded one holds none."""
    if isinstance(engine, RemoteEngine):
        engine.close()
