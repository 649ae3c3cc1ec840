"""Write the simulated past into the demo's store, before the suite opens it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ninesight_store import LocalStore

from ninesight_suite.demo.history import HistorySettings, write_history
from ninesight_suite.demo.settings import DemoSettings

__all__ = ["write_past"]


def write_past(
    settings: DemoSettings,
    *,
    progress: Callable[[int, int], None],
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> int:
    """Return the number of samples written; closed hours are sealed, as they would be after a day's running."""
    folder = settings.folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    end_ms = now_ms()
    start_ms = end_ms - int(settings.history_s * 1000)
    with_steps = HistorySettings(start_ms, end_ms)
    store = LocalStore(f"sqlite:///{(folder / 'ninesight.db').resolve()}")
    try:
        written = write_history(store, with_steps, progress=progress)
        store.seal(end_ms)
    finally:
        store.close()
    return written
