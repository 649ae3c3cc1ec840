"""One contract, five citizens: our engine on two stores, and the remote engine on three real servers."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
import urllib.request

import pytest
import uvicorn
from ninesight_query import LocalEngine, RemoteEngine, RemoteSettings
from ninesight_query.contract_exemplars import EXEMPLAR_CHECKS, batch_with_exemplars, check_no_exemplars
from ninesight_query.contract_suite import CHECKS, NATIVE_CHECKS, import_text, open_metrics
from ninesight_query.http import routes
from ninesight_query.testing_servers import running_prometheus, running_victoria_metrics
from ninesight_store import LocalStore
from ninesight_store.memory import MemoryStore
from starlette.applications import Starlette


@contextlib.contextmanager
def serving(engine):
    """Our HTTP API over an engine on a free port; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes(engine)), host="127.0.0.1", port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def remote(address):
    """A remote engine that is closed again."""
    engine = RemoteEngine(RemoteSettings(address, timeout_s=30.0))
    try:
        yield engine
    finally:
        engine.close()


@contextlib.contextmanager
def memory(real, folder):
    """Our engine over a store in memory."""
    store = MemoryStore()
    store.write(batch_with_exemplars())
    yield LocalEngine(store)


@contextlib.contextmanager
def local(real, folder):
    """Our engine over SQLite."""
    store = LocalStore(f"sqlite:///{folder / 'own.db'}")
    try:
        store.write(batch_with_exemplars())
        yield LocalEngine(store)
    finally:
        store.close()


@contextlib.contextmanager
def ninesight(real, folder):
    """The remote engine on our own API."""
    with memory(real, folder) as engine, serving(engine) as address, remote(address) as asked:
        yield asked


@contextlib.contextmanager
def prometheus(real, folder):
    """The remote engine on a real Prometheus over blocks that promtool made."""
    binary, promtool = real("prometheus"), real("promtool")
    (folder / "data.om").write_text(open_metrics())
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*command, str(folder / "data.om"), str(folder / "tsdb")], check=True, capture_output=True, timeout=60
    )
    with running_prometheus(binary, folder) as address, remote(address) as asked:
        yield asked


@contextlib.contextmanager
def victoriametrics(real, folder):
    """The remote engine on a real VictoriaMetrics that took the samples over HTTP."""
    binary = real("victoria-metrics")
    with running_victoria_metrics(binary, folder) as address:
        body = import_text().encode()
        with urllib.request.urlopen(f"{address}/api/v1/import/prometheus", body, timeout=30) as reply:
            assert reply.status == 204
        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=30) as reply:
            assert reply.status == 200
        with remote(address) as asked:
            yield asked


KINDS = {
    "memory": memory,
    "store": local,
    "ninesight": ninesight,
    "prometheus": prometheus,
    "victoriametrics": victoriametrics,
}
NAMES = {"memory": "local", "store": "local"}


@pytest.fixture(scope="module", params=KINDS)
def engine(request, tmp_path_factory, real_module):
    """Each citizen once, with the suite's samples."""
    with KINDS[request.param](real_module, tmp_path_factory.mktemp(request.param)) as made:
        assert made.capabilities.name == NAMES.get(request.param, request.param)
        yield made


@pytest.fixture(scope="module")
def real_module():
    """`real` of the whole house, for a fixture that lives as long as this module."""

    def require(component):
        if path := shutil.which(component):
            return path
        asked = os.environ.get("NINESIGHT_REQUIRE_REAL") == "1"
        raise (pytest.fail if asked else pytest.skip).Exception(f"{component} is not installed")

    return require


@pytest.mark.parametrize("check", [*CHECKS, check_no_exemplars], ids=lambda check: check.__name__)
def test_contract(engine, check):
    """The check's own sentence holds for this engine."""
    check(engine)


@pytest.mark.parametrize("check", [*NATIVE_CHECKS, *EXEMPLAR_CHECKS], ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ["memory", "store", "ninesight"])
def test_native_histograms_and_exemplars(kind, check, tmp_path, real):
    """The check's own sentence holds where native histograms and exemplars were written."""
    with KINDS[kind](real, tmp_path) as engine:
        check(engine)
