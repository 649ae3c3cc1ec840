"""The whole collector: configuration to samples in a store, and nothing left behind."""

import threading

import httpx2
import pytest
from ninesight_collector import Collector, CollectorConfig
from ninesight_collector.gpu import GpuLoad
from ninesight_store.contract import Matcher, MatchOp
from ninesight_store.errors import RetryableError
from ninesight_store.testing import MemoryStore, RecordingSink
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from pydantic import ValidationError

QUIET = {"gpu": {"mode": "off"}, "host": {"enabled": False}, "otlp": {"enabled": False}}


def config_of(**given):
    """A configuration with everything off but what is given."""
    return CollectorConfig.model_validate({**QUIET, **given})


def names(store):
    """Metric names in the store."""
    found = store.series([Matcher("__name__", MatchOp.NOT_EQUAL, "")], 0, 2**52)
    return {dict(labels)["__name__"] for labels in found}


@pytest.fixture
def collect():
    """`collect(config, sink)` starts a Collector that is stopped at the end, whatever happens."""
    begun = []

    def begin(config, sink, **given):
        begun.append(Collector(config, sink, **given).start())
        return begun[-1]

    yield begin
    for collector in begun:
        collector.stop(60)


def test_everything_runs_together_and_stops_without_a_thread_left(serve, until, collect):
    """A scraped target, simulated GPUs, the host, ourselves and an OTLP sender; then silence."""
    before = set(threading.enumerate())
    registry = CollectorRegistry()
    Gauge("level", "Level.", registry=registry).set(4)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    store = MemoryStore()
    config = config_of(
        instance="node",
        otlp={},
        host={"interval": "100ms"},
        gpu={"mode": "simulated", "interval": "100ms", "scenario": {"gpus": 2}},
        scrape=[{"job": "app", "targets": [f"127.0.0.1:{server.server_port}"], "interval": "500ms"}],
    )
    collector = collect(config, store, gpu_load=lambda gpu, _now_ms: GpuLoad(0.25 * gpu))
    expected = {
        "level",
        "up",
        "gpu_power_watts",
        "host_memory_used_bytes",
        "ninesight_collector_retry_batches",
    }
    with serve(collector.routes()) as address:
        until(lambda: expected <= names(store), 60, "samples of every source")
        body = {"Content-Type": "application/json"}
        answer = httpx2.post(f"{address}/v1/metrics", content="{}", headers=body, trust_env=False)
        assert answer.status_code == 200
        # An empty block of snappy: a request without series.
        assert httpx2.post(f"{address}/api/v1/write", content=b"\0", trust_env=False).status_code == 204
        until(lambda: all(view.up for view in collector.targets()), 60, "everything being up")
        kinds = ["scrape", "gpu", "host", "self", "otlp", "remote_write_receiver"]
        assert [view.kind for view in collector.targets()] == kinds
        view = _view(collector, "scrape")
        assert (view.name, view.samples) == ("app", 4)
        assert view.url == f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        server.server_close()
        thread.join()
        until(lambda: "could not be asked" in _view(collector, "scrape").error, 60, "the target going down")
        assert _view(collector, "scrape").up is False
        assert collector.stop(60)
    # The web server ends its idle worker threads without waiting for them.
    until(lambda: set(threading.enumerate()) <= before, 60, "every thread ending")
    taken = sum(
        collector.counters.get("received_samples_total", source=s) for s in ("scrape", "gpu", "host", "self")
    )
    columns = store.select([Matcher("__name__", MatchOp.NOT_EQUAL, "")], 0, 2**52)
    assert taken >= len(columns.values) > 0
    assert collector.counters.total("dropped_samples_total") == 0


def _view(collector, kind):
    return next(view for view in collector.targets() if view.kind == kind)


def test_a_sink_that_fails_for_a_while_loses_nothing(until, collect):
    """What it refused is tried again, and arrives."""
    sink = RecordingSink(fail_with=[RetryableError("busy")] * 3)
    collector = collect(config_of(host={"interval": "20ms"}), sink)
    until(lambda: collector.counters.get("sink_retries_total") >= 1 and len(sink.batches) > 5)
    until(lambda: collector.counters.get("retry_batches") == 0, what="the buffer's end")
    assert collector.stop()
    written = sum(len(batch) for batch in sink.batches)
    assert written == collector.counters.total("received_samples_total")
    assert collector.counters.total("dropped_samples_total") == 0


def test_a_sink_that_never_answers_drops_the_oldest_and_counts_it(until, collect):
    """The buffer is bounded; received = written + dropped."""

    class Never:
        def write(self, batch):
            raise RetryableError("never")

    collector = collect(config_of(host={"interval": "10ms"}, retry_batches_max=3), Never())
    until(lambda: collector.counters.get("dropped_samples_total", reason="buffer_full") > 0)
    assert collector.counters.get("retry_batches") <= 3
    assert collector.stop()
    counters = collector.counters
    assert counters.get("dropped_samples_total", reason="stopped") > 0
    assert counters.total("dropped_samples_total") == counters.total("received_samples_total")


def test_stop_says_when_something_still_runs(serve):
    """A scrape under way is waited for up to the timeout; stop then returns False, and the rest ends by itself."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(RecordingSink):
        def write(self, batch):
            entered.set()
            leave.wait(120)
            super().write(batch)

    collector = Collector(config_of(host={"interval": "1h"}), Slow()).start()
    assert entered.wait(60)
    assert not collector.stop(0.2)
    leave.set()


def test_stop_without_start_is_harmless():
    """Nothing was begun, nothing is left."""
    before = set(threading.enumerate())
    assert Collector(config_of(), RecordingSink()).stop(1)
    assert set(threading.enumerate()) <= before


def test_off_is_off():
    """No routes without receivers, no targets but ourselves."""
    collector = Collector(config_of(remote_write_receiver={"enabled": False}), RecordingSink())
    assert collector.routes() == []
    assert [view.kind for view in collector.targets()] == ["self"]
    collector.stop(1)


@pytest.mark.parametrize(
    ("given", "place", "words"),
    [
        ({"scrap": []}, "scrap", "Extra inputs"),
        (
            {"scrape": [{"job": "a", "targets": ["h:1"], "interval": 15}]},
            "scrape.0.interval",
            'such as "15s", got 15',
        ),
        ({"scrape": [{"job": "a", "targets": ["h:1"], "interval": "0s"}]}, "scrape.0.interval", "above zero"),
        (
            {"scrape": [{"job": "a", "targets": ["h:1"], "timeout": "20s"}]},
            "scrape.0",
            "timeout must not be above interval (15s), got 20s",
        ),
        ({"scrape": [{"job": "a", "targets": ["ftp://h"]}]}, "scrape.0.targets", 'got the scheme "ftp"'),
        ({"scrape": [{"job": "a", "targets": ["h:99999"]}]}, "scrape.0.targets", "1-65535"),
        ({"scrape": [{"job": "a", "targets": ["h:1/metrics"]}]}, "scrape.0.targets", "use path for the path"),
        (
            {"scrape": [{"job": "a", "targets": ["http://u:p@h"]}]},
            "scrape.0.targets",
            "must not carry credentials",
        ),
        ({"scrape": [{"job": "a", "targets": ["h:1"], "path": "x"}]}, "scrape.0.path", 'must begin with "/"'),
        (
            {"scrape": [{"job": "a", "targets": ["h:1"], "labels": {"__x": "1"}}]},
            "scrape.0.labels",
            'got "__x"',
        ),
        ({"scrape": [{"job": "a", "targets": ["h:1"]}] * 2}, "", "got a more than once"),
        (
            {"gpu": {"mode": "simulated", "scenario": {"name": "H100"}}},
            "gpu.scenario.name",
            'must begin with "Simulated", got "H100"',
        ),
        (
            {"gpu": {"scenario": {"idle_watts": 800}}},
            "gpu.scenario",
            "idle_watts must not be above max_watts (700), got 800",
        ),
        ({"otlp": {"body_bytes_max": 1}}, "otlp.body_bytes_max", "greater than or equal to 1024"),
    ],
)
def test_a_bad_configuration_names_the_key(given, place, words):
    """What must hold, what was given; secrets are not repeated."""
    with pytest.raises(ValidationError) as caught:
        CollectorConfig.model_validate(given)
    error = caught.value.errors()[0]
    assert ".".join(map(str, error["loc"])) == place
    assert words in error["msg"]
    assert "u:p@h" not in str(caught.value)


def test_prometheus_spelling_of_honour_labels_is_read():
    """honor_labels, as in prometheus.yml."""
    config = config_of(scrape=[{"job": "a", "targets": ["h:1"], "honor_labels": True}])
    assert config.scrape[0].honour_labels is True
