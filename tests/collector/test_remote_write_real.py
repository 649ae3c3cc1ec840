"""Remote write with the real thing: Prometheus and VictoriaMetrics take from us, and a Prometheus sends to us."""

import contextlib
import http.server
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from ninesight_collector import Counters
from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward import RemoteWriter, SenderSettings
from ninesight_collector.remote_write import ReceiverSettings, routes
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_query import LocalEngine, RemoteEngine, RemoteSettings
from ninesight_query.contract import Matrix, Ragged, Vector
from ninesight_query.contract_suite import AT_MS, BASE_MS, END_MS, batch
from ninesight_query.histogram import Histogram
from ninesight_query.testing_servers import running_prometheus, running_victoria_metrics
from ninesight_store import LocalStore
from ninesight_store.errors import RetryableError
from ninesight_store.memory import MemoryStore

OLD_SAMPLES = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 100y}}\n"


def now_ms():
    """The time."""
    return time.time_ns() // 1_000_000


def plain(value):
    """A value as dicts and rounded numbers, histograms by what both sides know of them."""
    if isinstance(value, Vector):
        return {
            labels: number(value.histograms.get(row, value.values[row]))
            for row, labels in enumerate(value.labels)
        }
    if isinstance(value, Ragged):
        return {
            labels: (
                value.timestamps[row].tolist(),
                value.values[row].tolist(),
                [(at, number(one)) for at, one in value.histograms[row]] if value.histograms else [],
            )
            for row, labels in enumerate(value.labels)
        }
    assert isinstance(value, Matrix), value
    return {
        labels: [
            number(value.histograms.get((row, step), value.values[row, step]))
            if value.present[row, step] or (row, step) in value.histograms
            else None
            for step in range(len(value.timestamps))
        ]
        for row, labels in enumerate(value.labels)
    }


def number(value):
    """A float to 10 digits; of a histogram what travels through a server's JSON."""
    if not isinstance(value, Histogram):
        return float(f"{value:.10g}")
    filled = [
        (int(value.positive_start + place), float(f"{count:.10g}"))
        for place, count in enumerate(value.positive)
        if count
    ]
    # An empty one has no schema on the way.
    return (
        value.schema if filled else None,
        number(value.count),
        number(value.sum),
        number(value.zero_count),
        tuple(filled),
    )


def same(mine, theirs, queries, at_ms, span=None):
    """Assert that two engines answer alike: instant at `at_ms`, and over `span` = (start, end, step) in ms."""
    for query in queries:
        answers = [engine.instant(query, at_ms).value for engine in (mine, theirs)]
        assert plain(answers[0]) == plain(answers[1]), query
        assert answers[0].labels or query == "level", query
        if span and not query.endswith("]"):
            answers = [engine.range(query, *span).value for engine in (mine, theirs)]
            assert plain(answers[0]) == plain(answers[1]), query


@contextlib.contextmanager
def asked(address):
    """A remote engine that is closed again."""
    engine = RemoteEngine(RemoteSettings(address, timeout_s=30.0))
    try:
        yield engine
    finally:
        engine.close()


def send(address, folder, what, until, **config):
    """Send batches to a server and wait until all are taken; return the sender's counters."""
    counters = Counters()
    told = {"url": f"{address}/api/v1/write", "name": "t", **config}
    settings = SenderSettings.of(RemoteWriteConfig.model_validate(told))
    sender = RemoteWriter(settings, folder / "queue", counters, now_ms)
    sender.start()
    try:
        for one in what:
            sender.write(one)
        until(lambda: sender._spool.state().records == 0, 60, "everything being sent")
    finally:
        assert sender.stop(20)
    assert counters.total("remote_write_failed_samples_total") == 0
    assert counters.total("remote_write_dropped_samples_total") == 0
    return counters


def whole_numbers():
    """The suite's samples with three times the observations: 2.42 loses histograms whose counts are fractions."""
    told = batch()
    points = told.histograms
    names = ("count", "sum", "zero_count", "positive_count", "negative_count")
    return replace(
        told, histograms=replace(points, **{name: np.round(3 * getattr(points, name)) for name in names})
    )


FLOATS = (
    "suite_requests_total",
    "suite_temperature[10m]",
    "sum by (model) (rate(suite_requests_total[5m]))",
    "histogram_quantile(0.9, sum by (le) (rate(suite_seconds_bucket[5m])))",
    "max_over_time(suite_temperature[7m]) - suite_temperature",
    "suite_odd",
    "count_over_time(suite_short[1h])",
)
# No quantiles: Prometheus 3, which we follow, interpolates otherwise within a native bucket than 2.42.
NATIVES = (
    "suite_native",
    "rate(suite_native[5m])",
    "histogram_count(increase(suite_native[10m]))",
    "suite_native[59m]",
    "histogram_count(suite_native) + histogram_sum(suite_native)",
)
SPAN = (BASE_MS + 607_000, END_MS - 53_000, 300_000)


@pytest.mark.parametrize("protocol", ["auto", "1.0"])
def test_prometheus_takes_from_us_and_answers_as_our_store(until, tmp_path, real, protocol):
    """Floats and native histograms: instant, range and raw answers of both engines are the same."""
    store = MemoryStore()
    store.write(whole_numbers())
    with running_prometheus(real("prometheus"), tmp_path, config=OLD_SAMPLES) as address:
        counters = send(address, tmp_path, [whole_numbers()], until, protocol=protocol)
        assert counters.get("remote_write_sent_samples_total", target="t") == len(batch())
        with asked(address) as engine:
            same(LocalEngine(store), engine, FLOATS + NATIVES, AT_MS, SPAN)
            same(LocalEngine(store), engine, NATIVES, END_MS + 7_000)


def test_victoria_metrics_takes_from_us_and_answers_as_our_store(until, tmp_path, real):
    """Floats as they are; native histograms as classic ones whose buckets hold what the native ones hold."""
    store = MemoryStore()
    store.write(batch())
    with running_victoria_metrics(real("victoria-metrics"), tmp_path) as address:
        send(address, tmp_path, [batch()], until)
        import urllib.request

        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=30) as reply:
            assert reply.status == 200
        with asked(address) as engine:
            raw = ("suite_requests_total[59m]", "suite_temperature[59m]", "suite_seconds_bucket[30m]")
            same(LocalEngine(store), engine, raw, END_MS)
            mine = LocalEngine(store)
            for quantile in (0.5, 0.9, 0.99):
                exact = mine.instant(f"histogram_quantile({quantile}, suite_native)", AT_MS).value.values[0]
                text = f"histogram_quantile({quantile}, suite_native_bucket)"
                found = engine.instant(text, AT_MS).value.values[0]
                assert found == pytest.approx(exact, rel=0.19), quantile
            for native, classic in (
                ("histogram_count(suite_native)", "suite_native_count"),
                ("histogram_sum(suite_native)", "suite_native_sum"),
                ("histogram_count(suite_custom)", "suite_custom_count"),
            ):
                values = [e.instant(q, AT_MS).value.values[0] for e, q in ((mine, native), (engine, classic))]
                assert values[0] == values[1], native


class Target:
    """A page in Prometheus' protobuf format whose numbers grow with every scrape."""

    def __init__(self):
        self.scrapes = 0
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                body = target.page()
                self.send_response(200)
                kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A scrape that took too long hangs up.
        self.server.handle_error = lambda *_: None
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def page(self):
        """The next page."""
        self.scrapes += 1
        n = self.scrapes
        families = [MetricFamily(name="hits_total", help="Hits.", type=0), MetricFamily(name="level", type=1)]
        for model in ("a", "b"):
            one = families[0].metric.add()
            one.label.add(name="model", value=model)
            one.counter.value = float(n * (3 if model == "a" else 5))
        # The level is there in two of three scrapes: Prometheus marks it stale in between.
        if n % 3:
            families[1].metric.add().gauge.value = float(n % 7)
        families.append(MetricFamily(name="wait_seconds", help="Waits.", type=4))
        one = families[2].metric.add().histogram
        one.sample_count, one.sample_sum, one.schema, one.zero_threshold = 6 * n, 2.5 * n, 3, 1e-128
        one.positive_span.add(offset=-4, length=2)
        one.positive_span.add(offset=3, length=1)
        one.positive_delta.extend([n, n, n])
        return b"".join(delimited(one.SerializeToString()) for one in families if one.metric)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def delimited(body):
    """The length as a varint, then the body."""
    size, out = len(body), bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size]) + body


class Moody:
    """A sink that refuses every now and then before it writes into a store."""

    def __init__(self, store):
        self.store, self.asked, self.refusals = store, 0, 0

    def write(self, batch):
        self.asked += 1
        if self.asked % 4 == 2:
            self.refusals += 1
            raise RetryableError("not now")
        self.store.write(batch)


CONFIG = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
- job_name: app
  static_configs: [{{targets: ["{target}"]}}]
remote_write:
- url: {url}
  send_native_histograms: true
  send_exemplars: true
  queue_config: {{batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 100ms, max_shards: 3, min_shards: 2}}
  metadata_config: {{send: true, send_interval: 1s}}
"""

SCRAPED = (
    "hits_total",
    "hits_total[20s]",
    "sum by (model) (rate(hits_total[10s]))",
    "level",
    "count_over_time(level[10s])",
    "up",
    "scrape_samples_scraped",
    "wait_seconds",
    "wait_seconds[20s]",
    "rate(wait_seconds[10s])",
    "histogram_count(wait_seconds) / histogram_sum(wait_seconds)",
)


def test_a_prometheus_that_scrapes_and_sends_to_us_ends_with_the_same_answers(serve, until, tmp_path, real):
    """Counters, a gauge that comes and goes, native histograms, through refusals and retries: both sides agree."""
    binary = real("prometheus")
    target, store = Target(), LocalStore(f"sqlite:///{tmp_path / 'own.db'}")
    moody, counters = Moody(store), Counters()
    try:
        with serve(routes(moody, ReceiverSettings(), counters, now_ms)) as ours:
            config = CONFIG.format(target=target.address, url=f"{ours}/api/v1/write")
            mine = LocalEngine(store)
            with running_prometheus(binary, tmp_path, config=config) as address, asked(address) as theirs:
                until(lambda: target.scrapes >= 70, 60, "seventy scrapes")
                end_ms = now_ms()

                def latest():
                    value = mine.instant("timestamp(hits_total)", now_ms()).value
                    return len(value.values) and min(value.values) * 1000

                until(lambda: latest() > end_ms + 500, 60, "what was scraped until then")
                time_of = plain(theirs.instant("hits_total[1m]", end_ms).value)
                times = np.array(next(iter(time_of.values()))[0])
                # Between two scrapes, so that no edge of a window meets a sample.
                at_ms = int(times[-4] + 111)
                span = (at_ms - 8_000, at_ms, 1_000)
                same(mine, theirs, SCRAPED, at_ms)
                spanning = ("rate(hits_total[5s])", "level", "up", "rate(wait_seconds[5s])")
                same(mine, theirs, spanning, at_ms, span)
                until(lambda: {one.metric for one in store.metadata()} >= {"hits_total", "wait_seconds"}, 20)
    finally:
        target.close()
        store.close()
    assert moody.refusals > 2
    assert counters.get("remote_write_requests_total", code="503") == moody.refusals
    assert counters.get("remote_write_requests_total", code="400") == 0
