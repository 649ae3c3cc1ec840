"""Run the server: load, listen, and on SIGTERM drain before the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Sequence

import ninesight
import uvicorn

from ninesight_server.config import ServerSettings
from ninesight_server.contract import Backend
from ninesight_server.http_app import InferenceApp
from ninesight_server.slot import ModelSlot

__all__ = ["serve"]

_POLL_S = 0.05


async def serve(
    backends: Sequence[Backend],
    settings: ServerSettings,
    *,
    on_listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT. `on_listening` gets the address once requests are taken (not yet ready).

    Raises OSError when the port is taken, InferenceError when a model cannot be loaded.
    """
    # The protocol is named because asyncio switches Nagle's delay off only where it is.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        slots = {backend.spec.name: ModelSlot(backend, settings) for backend in backends}
        app = InferenceApp(slots, settings)
        server = _server(app)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        on_listening(f"http://{settings.host}:{sock.getsockname()[1]}")
        try:
            for slot in slots.values():
                await slot.load()
            # Weights and code live for ever: kept out of collections, which else stop the loop for tens of ms.
            gc.collect()
            gc.freeze()
            await _until_signal(running)
            app.draining = True
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(running), settings.drain_s)
            for slot in slots.values():
                await slot.unload()
            await asyncio.to_thread(ninesight.shutdown)


def _server(app: InferenceApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    # Signals are ours: draining comes before the listener closes.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    return server


async def _until_signal(running: asyncio.Task[None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    while not ended.is_set() and not running.done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _POLL_S * 10)
