"""What the demo tells the person who watches: one line per event, and a spinner while it waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Screen"]


class Screen:
    """Prints lines with the seconds since the start."""

    def __init__(self, console: Console, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock_s = clock_s
        self._start_s = clock_s()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return self._clock_s() - self._start_s

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self._console.print(
            f"[dim]{self.elapsed_s:6.1f} s[/dim]  {text}", style=style, highlight=False, soft_wrap=True
        )

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is awaited (a spinner on a terminal, nothing in a log)."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(text):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """Give a function `(done, of)` that moves a progress bar."""
        columns = (TextColumn("          {task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(text, total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)
