"""One contract, eight citizens: our engine on three stores, and the remote engine on three real servers.

Prometheus and VictoriaMetrics are asked twice: over samples that their own tools put there, and over what our
remote write sent.
"""

import contextlib
import subprocess
import threading
import time
import urllib.request

import pytest
import uvicorn
from ninesight_collector import Counters
from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward import RemoteWriter, SenderSettings
from ninesight_query import LocalEngine, RemoteEngine, RemoteSettings
from ninesight_query.contract_exemplars import EXEMPLAR_CHECKS, batch_with_exemplars, check_no_exemplars
from ninesight_query.contract_suite import CHECKS, NATIVE_CHECKS, batch, import_text, open_metrics
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
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)


@contextlib.contextmanager
def remote(address):
    """A remote engine that is closed again."""
    engine = RemoteEngine(RemoteSettings(address, timeout_s=30.0))
    try:
        yield engine
    finally:
        engine.close()


@contextlib.contextmanager
def memory(ask, folder):
    """Our engine over a store in memory."""
    store = MemoryStore()
    store.write(batch_with_exemplars())
    yield LocalEngine(store)


@contextlib.contextmanager
def local(ask, folder):
    """Our engine over SQLite."""
    store = LocalStore(f"sqlite:///{folder / 'own.db'}")
    try:
        store.write(batch_with_exemplars())
        yield LocalEngine(store)
    finally:
        store.close()


@contextlib.contextmanager
def postgresql(ask, folder):
    """Our engine over PostgreSQL."""
    store = LocalStore(ask("postgres").url())
    try:
        store.write(batch_with_exemplars())
        yield LocalEngine(store)
    finally:
        store.close()


@contextlib.contextmanager
def ninesight(ask, folder):
    """The remote engine on our own API."""
    with memory(ask, folder) as engine, serving(engine) as address, remote(address) as asked:
        yield asked


@contextlib.contextmanager
def prometheus(ask, folder):
    """The remote engine on a real Prometheus over blocks that promtool made."""
    binary, promtool = ask("real")("prometheus"), ask("real")("promtool")
    (folder / "data.om").write_text(open_metrics())
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*command, str(folder / "data.om"), str(folder / "tsdb")], check=True, capture_output=True, timeout=60
    )
    with running_prometheus(binary, folder) as address, remote(address) as asked:
        yield asked


@contextlib.contextmanager
def victoriametrics(ask, folder):
    """The remote engine on a real VictoriaMetrics that took the samples over HTTP."""
    binary = ask("real")("victoria-metrics")
    with running_victoria_metrics(binary, folder) as address:
        body = import_text().encode()
        with urllib.request.urlopen(f"{address}/api/v1/import/prometheus", body, timeout=30) as reply:
            assert reply.status == 204
        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=30) as reply:
            assert reply.status == 200
        with remote(address) as asked:
            yield asked


def send(address, folder):
    """Send the suite's floats by remote write; return when the server took all of them."""
    config = RemoteWriteConfig(url=f"{address}/api/v1/write", name="t")
    counters = Counters()
    sender = RemoteWriter(
        SenderSettings.of(config), folder / "queue", counters, lambda: time.time_ns() // 1_000_000
    )
    sender.start()
    told = batch(with_natives=False)
    sender.write(told)
    deadline = time.monotonic() + 60
    while counters.get("remote_write_sent_samples_total", target="t") < len(told):
        assert time.monotonic() < deadline, sender.view()
        time.sleep(0.02)
    assert sender.stop(20)


@contextlib.contextmanager
def prometheus_written(ask, folder):
    """The remote engine on a real Prometheus that took the samples by remote write."""
    config = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 100y}}\n"
    with running_prometheus(ask("real")("prometheus"), folder, config=config) as address:
        send(address, folder)
        with remote(address) as asked:
            yield asked


@contextlib.contextmanager
def victoriametrics_written(ask, folder):
    """The remote engine on a real VictoriaMetrics that took the samples by remote write."""
    with running_victoria_metrics(ask("real")("victoria-metrics"), folder) as address:
        send(address, folder)
        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=30) as reply:
            assert reply.status == 200
        with remote(address) as asked:
            yield asked


KINDS = {
    "memory": memory,
    "store": local,
    "postgresql": postgresql,
    "ninesight": ninesight,
    "prometheus": prometheus,
    "victoriametrics": victoriametrics,
    "prometheus, written": prometheus_written,
    "victoriametrics, written": victoriametrics_written,
}
NAMES = {"memory": "local", "store": "local", "postgresql": "local"}


@pytest.fixture(scope="module", params=KINDS)
def engine(request, tmp_path_factory):
    """Each citizen once, with the suite's samples."""
    kind = request.param.partition(",")[0]
    folder = tmp_path_factory.mktemp(kind)
    with KINDS[request.param](request.getfixturevalue, folder) as made:
        assert made.capabilities.name == NAMES.get(kind, kind)
        yield made


@pytest.mark.parametrize("check", [*CHECKS, check_no_exemplars], ids=lambda check: check.__name__)
def test_contract(engine, check):
    """The check's own sentence holds for this engine."""
    check(engine)


@pytest.mark.parametrize("check", [*NATIVE_CHECKS, *EXEMPLAR_CHECKS], ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ["memory", "store", "postgresql", "ninesight"])
def test_native_histograms_and_exemplars(kind, check, tmp_path, request):
    """The check's own sentence holds where native histograms and exemplars were written."""
    with KINDS[kind](request.getfixturevalue, tmp_path) as engine:
        check(engine)
