"""Command lines of the server and its load generator; `ninesight serve` and `ninesight load` call them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

__all__ = ["load_main", "serve_main"]


def serve_main(arguments: Sequence[str]) -> int:
    """Serve the two reference models until SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="ninesight serve",
        description="Serve two ONNX models over the Open Inference Protocol v2, with dynamic batching.",
        epilog="Send metrics to a suite: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9901; or scrape /metrics.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=8000, help="0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=2.0, metavar="SECONDS", help="per request (default: %(default)s)"
    )
    parser.add_argument(
        "--queue", type=int, default=512, metavar="REQUESTS", help="waiting per model before shedding"
    )
    parser.add_argument(
        "--batch", type=int, default=64, metavar="ROWS", help="largest batch (default: %(default)s)"
    )
    parser.add_argument(
        "--accelerator", metavar="LABEL", help="gpu label of accelerator-seconds (default: the device used)"
    )
    parser.add_argument(
        "--golden-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="between two golden inputs; a model that answers one wrongly is not ready (default: %(default)s)",
    )
    parser.add_argument(
        "--faults", action="store_true", help="allow POST /admin/faults/MODEL: demos and tests only"
    )
    given = parser.parse_args(list(arguments))

    from ninesight_server.config import ServerSettings
    from ninesight_server.errors import ServerError
    from ninesight_server.onnx_backend import reference_models
    from ninesight_server.serve import serve

    def listening(url: str) -> None:
        sys.stdout.write(f"serving on {url}\n")
        sys.stdout.flush()

    try:
        settings = ServerSettings(
            host=given.host,
            port=given.port,
            timeout_s=given.timeout,
            queue_requests_max=given.queue,
            batch_rows_max=given.batch,
            accelerator=given.accelerator,
            faults=given.faults,
            golden_every_s=given.golden_every,
        )
        _run(serve(reference_models(given.accelerator), settings, on_listening=listening))
    except (ValueError, OSError, ServerError) as error:
        sys.stderr.write(f"ninesight serve: {error}\n")
        return 2
    return 0


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed: it takes about a third off a request."""
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def load_main(arguments: Sequence[str]) -> int:
    """Send traffic and print what came back. Returns 0 when every request was answered in some way."""
    parser = argparse.ArgumentParser(
        prog="ninesight load",
        description="Send open-loop traffic to an Open Inference Protocol v2 server and log every request.",
        epilog="Shapes: steady; burst (three times the rate for 5 s in every 20 s); "
        "fault (steady, and the server is slowed in the middle third: it must run with --faults).",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="requests a second, all models (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default: %(default)s)")
    parser.add_argument("--shape", choices=("steady", "burst", "fault"), default="steady")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="default: all the server has")
    parser.add_argument("--rows", type=int, default=1, help="rows in a request (default: %(default)s)")
    parser.add_argument("--log", type=Path, help="write one JSON line a request")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and inputs (default: %(default)s)")
    parser.add_argument(
        "--delay-ms", type=float, default=250.0, help="of the fault shape (default: %(default)s)"
    )
    given = parser.parse_args(list(arguments))

    from ninesight_server.load.run import LoadError, LoadSettings, run_load

    try:
        settings = LoadSettings(
            url=given.url,
            rate_per_s=given.rate,
            duration_s=given.seconds,
            shape=given.shape,
            models=tuple(given.models or ()),
            rows=given.rows,
            seed=given.seed,
            delay_ms=given.delay_ms,
        )
        return asyncio.run(run_load(settings, log=given.log))
    except (ValueError, OSError, LoadError) as error:
        sys.stderr.write(f"ninesight load: {error}\n")
        return 2
