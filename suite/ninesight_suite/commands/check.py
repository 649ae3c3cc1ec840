"""`ninesight check`: validate a configuration, with everything it names, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["check"]


def check(
    config: Annotated[Path, typer.Argument(help="the YAML file you would give to `ninesight up --config`")],
) -> None:
    """Check a configuration and the rule files, price book and SLA documents it names. Starts nothing."""
    from ninesight_suite.config import load_config
    from ninesight_suite.documents import check_documents
    from ninesight_suite.engines import api_token

    loaded = load_config(config)
    api_token(loaded)
    typer.echo(f"{check_documents(loaded)}\n{config}: ok")
