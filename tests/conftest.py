"""Fixtures for all tests: real components, or a reason why not."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine pauses tests for longer than any deadline that would say something. `make test` tries the same
# examples each time, so that a change is judged by itself; `make explore` looks for new ones.
settings.register_profile("ninesight", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ninesight"))


def require(component: str, *names: str) -> str:
    """Return the path of the first executable found, else skip with the reason (fail where it is required)."""
    for name in names or (component,):
        if path := shutil.which(name):
            return path
    reason = f"{component} is not installed (looked for {', '.join(names or (component,))})"
    if os.environ.get("NINESIGHT_REQUIRE_REAL") == "1":
        pytest.fail(f"NINESIGHT_REQUIRE_REAL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real():
    """`real("chromium")` gives the path of a real component, or skips with its reason."""
    return require


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server; `postgres.url()` gives the address of a new, empty database."""
    binary = require(
        "postgres", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), "postgres"
    )
    from .postgres import PostgresServer

    server = PostgresServer(Path(binary).resolve().parent)
    yield server
    server.close()
