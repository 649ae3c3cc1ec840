"""The agent: it collects on one node and only sends on. No store, no engine, no pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ninesight_collector import Collector, CollectorConfig, CollectorError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ninesight_suite.active_targets import targets_body
from ninesight_suite.address import Address, listen, parse_address
from ninesight_suite.errors import ConfigError
from ninesight_suite.explain import explain
from ninesight_suite.http_server import HttpServer
from ninesight_suite.yaml_file import read_mapping

__all__ = ["Agent", "AgentConfig", "load_agent_config", "run"]

_OTHER_SECTIONS = frozenset({"store", "query", "engine", "analytics", "alerts", "pages", "pages_listen"})


class AgentConfig(BaseModel):
    """What an agent reads of the suite's configuration file; the other sections may stand there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Path("ninesight-data")
    """Folder of the queues."""
    listen: str = "127.0.0.1:9901"
    """Receivers."""
    collector: CollectorConfig = Field(default_factory=CollectorConfig)


def load_agent_config(path: Path | None, urls: tuple[str, ...] = (), **overrides: Any) -> AgentConfig:
    """Read the file (None: all defaults); `urls` are receivers beside those it names. Raises ConfigError."""
    given: dict[str, Any] = {} if path is None else read_mapping(path)
    given = {key: value for key, value in given.items() if key not in _OTHER_SECTIONS}
    given |= {key: value for key, value in overrides.items() if value is not None}
    if urls:
        section = dict(given.get("collector") or {})
        section["remote_write"] = [*(section.get("remote_write") or ()), *({"url": url} for url in urls)]
        given["collector"] = section
    try:
        config = AgentConfig.model_validate(given)
        parse_address(config.listen)
    except ValidationError as error:
        raise ConfigError(explain(error, AgentConfig, "agent" if path is None else str(path))) from None
    except ValueError as error:
        raise ConfigError(f"listen: {error}") from None
    if not config.collector.remote_write:
        raise ConfigError(
            "an agent needs somewhere to send to; give --remote-write URL, or collector.remote_write in the file"
        )
    if path is None:
        return config
    folder = path.resolve().parent
    update = {"data_dir": folder / config.data_dir, "collector": config.collector.rooted(folder)}
    return config.model_copy(update=update)


class Agent:
    """Fulfils `contract.Lifecycle`."""

    def __init__(
        self, config: AgentConfig, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        """Open the queues. Raises ConfigError."""
        try:
            spool_dir = Path(config.data_dir).resolve() / "remote-write"
            self.collector = Collector(config.collector, None, now_ms, spool_dir=spool_dir)
        except (CollectorError, OSError) as error:
            raise ConfigError(str(error)) from error
        self.app = Starlette(
            routes=[
                *self.collector.routes(),
                Route("/api/v1/targets", self._targets),
                Route("/-/healthy", _well),
                Route("/-/ready", _well),
            ]
        )

    async def _targets(self, _request: Request) -> Response:
        found = await run_in_threadpool(self.collector.targets)
        return Response(targets_body(found), media_type="application/json")

    def start(self) -> None:
        """Begin to collect and to send."""
        self.collector.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End; what was accepted waits in the queues for the next start."""
        self.collector.stop(timeout_s)


async def _well(_request: Request) -> Response:
    return PlainTextResponse("ninesight agent is healthy\n")


def run(config: AgentConfig, *, on_ready: Callable[[Address], None] = lambda api: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop in order. Raises SuiteError before serving."""
    sock = listen(parse_address(config.listen), "listen")
    host, port = sock.getsockname()[:2]
    agent = Agent(config)
    try:
        agent.start()
        # uvloop would save 20 us a request and take 2 MB; few requests come here.
        server = HttpServer(agent.app, loop="asyncio")
        server.serve_on(sock, on_serving=lambda: on_ready(Address(host, port)))
    finally:
        agent.stop()
