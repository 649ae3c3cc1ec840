"""`ninesight agent`: collect on a node and send on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["agent"]


def agent(
    remote_write: Annotated[
        list[str] | None,
        typer.Option(help="a receiver, e.g. http://prometheus:9090/api/v1/write; may be given several times"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; its `collector` section is read")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="folder of the queues on the disk")] = None,
    listen: Annotated[str | None, typer.Option(help="receivers, default 127.0.0.1:9901")] = None,
) -> None:
    """Collect on this node and send everything on by remote write; keep nothing, show nothing.

    It reads GPUs and the host, scrapes what `collector.scrape` names, and receives OTLP and remote write. What it
    has accepted waits on the disk until a receiver took it: Prometheus, VictoriaMetrics, Mimir, or another ninesight.

    **For example**

    - `ninesight agent --remote-write http://127.0.0.1:9901/api/v1/write --listen 127.0.0.1:0`: send this node's
      GPUs and host to a suite
    - `ninesight agent --config node.yaml`: with targets to scrape, logins and limits (collector/README.md)
    - `curl http://127.0.0.1:9901/api/v1/targets`: what it watches, and whether sending goes well
    """
    from ninesight_suite import agent as agents
    from ninesight_suite.address import Address

    loaded = agents.load_agent_config(config, tuple(remote_write or ()), data_dir=data_dir, listen=listen)

    def ready(api: Address) -> None:
        typer.echo(f"API        {api.url}/api/v1/targets  (what is watched and sent)")
        typer.echo(f"receives   {api.url}/v1/metrics  (OTLP over HTTP)")
        typer.echo(f"           {api.url}/api/v1/write  (Prometheus remote write)")
        for target in loaded.collector.remote_write:
            typer.echo(f"sends on   {target.where}")
        if not api.loopback:
            typer.echo(
                f"warning: listen {api} is open to others; put a proxy with TLS and login before it", err=True
            )

    agents.run(loaded, on_ready=ready)
