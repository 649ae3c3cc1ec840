"""What must hold when a process forks while our threads work.

A thread that is amid an import when another one forks leaves the module locked for ever in the
child. So our threads import under a lock, and a fork waits for it (at most the second that an
import takes). The same lock keeps a fork from coming between opening a file and noting it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

__all__ = ["importing", "on_fork"]

_guard = threading.RLock()


def importing() -> AbstractContextManager[bool]:
    """Return the lock to hold around an import that happens after start: `with importing(): import x`."""
    return _guard


def on_fork(after_in_child: Callable[[], None]) -> None:
    """Have forks wait for our imports, and `after_in_child` run in each child. Call once."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release
        )
        os.register_at_fork(after_in_child=after_in_child)
