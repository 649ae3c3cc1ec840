"""Promises about PromQL in Prometheus' own test notation: a reader and a runner.

`run_file(path)` or `python -m ninesight_query.promqltest PATH...`.
"""

from ninesight_query.promqltest.command import main, run_paths
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.run import Failure, FileResult, local_engine, run_commands, run_file, run_text
from ninesight_query.promqltest.script import parse_script
from ninesight_query.promqltest.series import parse_series

__all__ = [
    "Failure",
    "FileResult",
    "NotationError",
    "local_engine",
    "main",
    "parse_script",
    "parse_series",
    "run_commands",
    "run_file",
    "run_paths",
    "run_text",
]
