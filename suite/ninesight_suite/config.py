"""The one configuration file: a section for each part, and where to listen.

    data_dir: ./ninesight-data
    listen: 127.0.0.1:9901          # API and receivers
    pages: {listen: 127.0.0.1:9900}
    collector: {scrape: [{job: vllm, targets: ["127.0.0.1:8000"]}]}
    alerts: {receivers: [{name: on-call, url: "https://..."}]}

Every key has a default: an empty file is a working configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from ninesight_alerts.config import AlertsConfig
from ninesight_analytics.config import AnalyticsConfig
from ninesight_collector.config import CollectorConfig
from ninesight_dashboards.config import PagesConfig
from ninesight_query.api_config import ApiConfig
from ninesight_query.config import EngineConfig
from ninesight_store.config import StoreConfig
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ninesight_suite.address import Address, parse_address
from ninesight_suite.errors import ConfigError
from ninesight_suite.explain import explain
from ninesight_suite.yaml_file import read_mapping

__all__ = ["SuiteConfig", "load_config"]


def _is_address(text: str) -> str:
    parse_address(text)
    return text


AddressText = Annotated[str, AfterValidator(_is_address)]


class SuiteConfig(BaseModel):
    """What a person writes into the file given to `ninesight up --config`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Path("ninesight-data")
    """Folder of the embedded store. Relative paths start at the configuration file's folder."""
    listen: AddressText = "127.0.0.1:9901"
    """API and receivers. Anything but loopback is reachable by others: put a proxy with TLS before it."""
    pages_listen: AddressText = "127.0.0.1:9900"
    """The pages."""
    api: ApiConfig = Field(default_factory=ApiConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    query: EngineConfig = Field(default_factory=EngineConfig)
    """Which engine answers. `engine` is another name for this section: `engine: {url: ...}`."""
    collector: CollectorConfig = Field(default_factory=CollectorConfig)
    analytics: AnalyticsConfig = Field(default_factory=AnalyticsConfig)
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    pages: PagesConfig = Field(default_factory=PagesConfig)

    @model_validator(mode="before")
    @classmethod
    def _engine_is_query(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "engine" not in given:
            return given
        if "query" in given:
            raise ValueError("engine and query are two names for one section; keep one of them")
        return {("query" if key == "engine" else key): value for key, value in given.items()}

    @property
    def keeps(self) -> bool:
        """Whether samples go into the own store."""
        if self.collector.keep is not None:
            return self.collector.keep
        return not (self.collector.remote_write and self.query.url)

    @property
    def spool_dir(self) -> Path:
        """Where the queues of remote write lie."""
        return Path(self.data_dir).resolve() / "remote-write"

    @property
    def api_address(self) -> Address:
        """`listen`, parsed."""
        return parse_address(self.listen)

    @property
    def pages_address(self) -> Address:
        """`pages_listen`, parsed."""
        return parse_address(self.pages_listen)


def load_config(path: Path | None, **overrides: Any) -> SuiteConfig:
    """Read a configuration file (None: all defaults); `overrides` that are not None replace top-level keys.

    Relative paths in the file start at the file's folder. Raises ConfigError with a line per finding.
    """
    given: dict[str, Any] = {} if path is None else read_mapping(path)
    given |= {key: value for key, value in overrides.items() if value is not None}
    source = "configuration" if path is None else str(path)
    try:
        config = SuiteConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(explain(error, SuiteConfig, source)) from None
    return config if path is None else _rooted(config, path.resolve().parent)


def _rooted(config: SuiteConfig, folder: Path) -> SuiteConfig:
    """Make the paths a person wrote relative to the file absolute."""
    receivers = tuple(
        one.model_copy(update={"secret_file": folder / one.secret_file}) if one.secret_file else one
        for one in config.alerts.receivers
    )
    rule_files = tuple(str(folder / pattern) for pattern in config.alerts.rule_files)
    return config.model_copy(
        update={
            "data_dir": folder / config.data_dir,
            "api": config.api.rooted(folder),
            "query": config.query.rooted(folder),
            "collector": config.collector.rooted(folder),
            "analytics": config.analytics.rooted(folder),
            "alerts": config.alerts.model_copy(update={"rule_files": rule_files, "receivers": receivers}),
        }
    )
