"""A child process: started with a document on its standard input, watched, stopped gracefully.

The pipe to the child stays open for life. A child that reads end-of-file there knows that its
parent is gone, killed or not, and stops by itself: no orphan keeps a port.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ninesight_suite.errors import StartError

__all__ = ["Child", "read_document", "stop_with_parent", "wait_until_ready"]


class Child:
    """One running process of ours."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        document: bytes = b"",
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Start `python -m arguments`; `document` goes to its standard input as one length-prefixed block."""
        self.name = name
        self.log = log
        out = log.open("ab") if log else None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                pass_fds=tuple(pass_fds),
                env=None if env is None else {**os.environ, **env},
                # Ctrl-C reaches the parent alone; it stops its children in order.
                start_new_session=True,
            )
        finally:
            if out:
                out.close()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # An early death is reported by `wait_until_ready`.
            self._process.stdin.write(len(document).to_bytes(4, "big") + document)
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def tail(self, lines: int = 12) -> str:
        """Return the end of its log, for an error message."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, wait, and SIGKILL if it does not listen. Safe to call twice."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL: for tests of what survives it."""
        self._process.kill()
        self._process.wait()


def wait_until_ready(child: Child, url: str, *, timeout_s: float, poll_s: float = 0.05) -> None:
    """Return when `url` answers 2xx. Raises StartError with the log's end if the child dies or time runs out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if child.exit_code is not None:
            raise StartError(f"{child.name} ended with code {child.exit_code} at start:\n{child.tail()}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
                if 200 <= answer.status < 300:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(poll_s)
    raise StartError(f"{child.name} did not answer at {url} within {timeout_s:g} s:\n{child.tail()}")


def read_document() -> bytes:
    """In the child: return the document the parent sent."""
    stream = sys.stdin.buffer
    size = int.from_bytes(stream.read(4), "big")
    return stream.read(size)


def stop_with_parent(stop: Callable[[], None]) -> None:
    """In the child: call `stop` once when the parent's end of the pipe closes."""

    def watch() -> None:
        # os.read on the descriptor: a buffered read would hold the stream's lock at exit.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
