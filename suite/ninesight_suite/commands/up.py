"""`ninesight up`: run the suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["up"]


def up(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; without it every key has its default")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="folder of the embedded store")] = None,
    listen: Annotated[str | None, typer.Option(help="API and receivers, default 127.0.0.1:9901")] = None,
    pages_listen: Annotated[str | None, typer.Option("--pages", help="pages, default 127.0.0.1:9900")] = None,
) -> None:
    """Receive, store, evaluate and show, until Ctrl-C.

    Point a server at it: set `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9901` beside the SDK, or name
    its `/metrics` under `collector.scrape` in the configuration.
    """
    from ninesight_store.errors import StoreError

    from ninesight_suite import serve
    from ninesight_suite.address import Address
    from ninesight_suite.config import load_config
    from ninesight_suite.errors import SuiteError
    from ninesight_suite.published import masked_url

    loaded = load_config(config, data_dir=data_dir, listen=listen, pages_listen=pages_listen)

    def ready(api: Address, page: Address) -> None:
        typer.echo(f"pages      {page.url}")
        typer.echo(f"API        {api.url}/api/v1/query  (Prometheus HTTP API)")
        typer.echo(f"receives   {api.url}/v1/metrics  (OTLP over HTTP)")
        typer.echo(f"           {api.url}/api/v1/write  (Prometheus remote write)")
        if loaded.keeps:
            typer.echo(f"store      {masked_url(loaded.store.url) or loaded.data_dir}")
        for target in loaded.collector.remote_write:
            typer.echo(f"sends on   {target.where}")
        if loaded.query.url:
            typer.echo(f"asks       {loaded.query.url}  (query.url: pages, analytics and alerts)")
        if loaded.query.url and not loaded.collector.remote_write:
            typer.echo(
                "warning: query.url is asked, but what arrives here is not sent there; "
                "set collector.remote_write",
                err=True,
            )
        for name, address in (("listen", api), ("pages_listen", page)):
            if not address.loopback:
                typer.echo(
                    f"warning: {name} {address} is open to others; put a proxy with TLS and login before it",
                    err=True,
                )

    try:
        serve.run(loaded, on_ready=ready)
    except StoreError as error:
        raise SuiteError(str(error)) from error
