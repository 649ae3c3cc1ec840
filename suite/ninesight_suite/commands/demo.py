"""`ninesight demo`: the main job on one machine."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from ninesight_suite.commands.query import seconds_of

__all__ = ["demo"]


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="stop by itself after this long; exit 0 only if all was seen")
    ] = None,
    history: Annotated[
        str | None, typer.Option(help="write this much labelled, simulated past first, e.g. 24h")
    ] = None,
    folder: Annotated[Path, typer.Option(help="where it keeps its store and logs; emptied at start")] = Path(
        ".demo"
    ),
    listen: Annotated[str, typer.Option(help="API and receivers")] = "127.0.0.1:9901",
    pages: Annotated[str, typer.Option(help="pages")] = "127.0.0.1:9900",
    rate: Annotated[float, typer.Option(min=1, max=500, help="requests a second")] = 40.0,
    fault_after: Annotated[
        float, typer.Option(min=0, help="seconds of quiet traffic before the fault")
    ] = 20.0,
) -> None:
    """Start everything here: store, reference server, load, pages; then a fault, its alert, webhook, resolution.

    The GPU is simulated where there is no driver, and says so in its data and on the pages.
    """
    from rich.console import Console

    from ninesight_suite.address import listen as try_address
    from ninesight_suite.address import parse_address
    from ninesight_suite.demo.run import run_demo
    from ninesight_suite.demo.settings import DemoSettings

    settings = DemoSettings(
        folder=folder.resolve(),
        seconds=seconds,
        history_s=seconds_of(history, "--history") if history else 0.0,
        api=parse_address(listen),
        pages=parse_address(pages),
        rate_per_s=rate,
        fault_after_s=fault_after,
    )
    # Found out now, in one line, rather than in a child's log.
    try_address(settings.api, "--listen").close()
    try_address(settings.pages, "--pages").close()
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    console = Console()
    seen = run_demo(settings, console, ending=ending)
    if seconds is None:
        return
    if seen.missing:
        console.print(
            f"not seen within {seconds:g} s: {', '.join(seen.missing)}; logs are in {settings.folder}"
        )
        raise typer.Exit(1)
    console.print("seen: data, page, alert, webhook, resolution")
