"""`ninesight serve` and `ninesight load`: the reference inference server and its load generator."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from ninesight_suite.errors import SuiteError

__all__ = ["run_server_command"]


def run_server_command(word: str, arguments: Sequence[str]) -> int:
    """Hand `serve` or `load` with its arguments to the server's own command line; return the exit code."""
    try:
        importlib.import_module("onnxruntime" if word == "serve" else "httpx2")
        cli: Any = importlib.import_module("ninesight_server.cli")
    except ModuleNotFoundError as error:
        raise SuiteError(
            f"`ninesight {word}` needs the reference server, and {error.name} is not installed; "
            "install it with: pip install 'ninesight[server]'"
        ) from None
    code: int = (cli.serve_main if word == "serve" else cli.load_main)(arguments)
    sys.stdout.flush()
    return code
