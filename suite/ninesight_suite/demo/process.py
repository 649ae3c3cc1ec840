"""A process of the demo: `python -m ninesight_suite.demo.process WORD ARG...`, ended with its parent."""

from __future__ import annotations

import os
import signal
import sys

from ninesight_suite.child import read_document, stop_with_parent

__all__ = ["main"]


def main() -> int:
    """Run `serve`, `load` or any other word of the ninesight command; SIGTERM ourselves when the parent is gone."""
    read_document()
    stop_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    word, *arguments = sys.argv[1:]
    if word in {"serve", "load"}:
        from ninesight_suite.commands.server import run_server_command

        return run_server_command(word, arguments)
    from ninesight_suite.cli import main as ninesight

    sys.argv = ["ninesight", word, *arguments]
    ninesight()
    return 0


if __name__ == "__main__":
    sys.exit(main())
