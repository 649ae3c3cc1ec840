"""Places for a store: a file, or a database of a real PostgreSQL server."""

import pytest

from .fault_world import Host, compiled


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The address of an empty place, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("postgres").url()


@pytest.fixture(scope="session")
def host(tmp_path_factory, real):
    """The process that forks processes under test and sends each into a fault (fault_world.py)."""
    host = Host(compiled(real("gcc"), tmp_path_factory.mktemp("faults")))
    yield host
    host.close()
