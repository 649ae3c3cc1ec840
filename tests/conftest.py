"""Fixtures for all tests: real components, or a reason why not."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from . import needs

# A shared machine pauses tests for longer than any deadline that would say something. `make test` tries the same
# examples each time, so that a change is judged by itself; `make explore` looks for new ones.
settings.register_profile("ninesight", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ninesight"))


@pytest.fixture(scope="session")
def real():
    """`real("chromium")` gives the path of a real component, or skips with its reason."""
    return needs.executable


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server; `postgres.url()` gives the address of a new, empty database."""
    binary = needs.executable(
        "postgres", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), "postgres"
    )
    from .postgres import PostgresServer

    server = PostgresServer(Path(binary).resolve().parent)
    yield server
    server.close()
