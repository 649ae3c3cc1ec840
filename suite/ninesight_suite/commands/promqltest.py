"""`ninesight promqltest`: run test files in Prometheus' notation against our engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["promqltest"]


def promqltest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="`.test` files, or folders of them")],
    failures: Annotated[int, typer.Option(help="show this many failed evals per file")] = 0,
) -> None:
    """Run PromQL tests: a line per file `FILE passed/total`, then the total. Exit 0 only if all pass."""
    from ninesight_query.promqltest.command import run_paths

    raise typer.Exit(run_paths([str(path) for path in paths], failures=failures))
