"""Scraping real HTTP servers: up, down, redirected, hostile."""

import gzip
import re
import subprocess
import threading

import httpx2
import numpy as np
import prometheus_client
import pytest
from ninesight_collector import Counters
from ninesight_collector.scrape import Scraper, ScrapeSettings, scrape_client
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_collector.testing import check_sampler, latest
from ninesight_store.contract import STALE_BITS, labels_of
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def client():
    with scrape_client() as client:
        yield client


@pytest.fixture
def scraper(client):
    """`scraper(url, **settings)` gives a Scraper of job `j` and instance `i` with its counters."""

    def begin(url, **given):
        settings = ScrapeSettings(
            **{"job": "j", "url": url, "timeout_s": 5.0, "labels": {"instance": "i"}} | given
        )
        counters = Counters()
        scraper = Scraper(settings, client, counters)
        scraper.counters = counters
        return scraper

    return begin


def series(name, **labels):
    return labels_of(name, {"job": "j", "instance": "i", **labels})


def stale(batch):
    """The series of a batch that got a stale marker."""
    rows = batch.series_index[batch.values.view(np.uint64) == STALE_BITS]
    return {batch.series.labels[row] for row in rows.tolist()}


def page(body, status=200, **headers):
    """Routes whose /metrics answers this."""
    return [Route("/metrics", lambda _: Response(body, status, headers))]


def test_a_prometheus_client_server_goes_down_and_comes_back(scraper):
    """up, own series, stale markers when it goes, values when it is back."""
    registry = CollectorRegistry()
    Counter("hits", "Hits.", registry=registry).inc(3)
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    port = server.server_port
    watcher = scraper(f"http://127.0.0.1:{port}/metrics")
    up = check_sampler(watcher)
    assert latest(up)[series("hits_total")] == 3.0
    assert latest(up)[series("up")] == 1.0
    assert latest(up)[series("scrape_samples_scraped")] == 2.0
    assert 0 < latest(up)[series("scrape_duration_seconds")] < 5
    assert watcher.health().up is True
    server.shutdown()
    server.server_close()
    thread.join()
    down = watcher.sample(NOW_MS + 10_000)
    assert stale(down) == {series("hits_total"), series("hits_created")}
    assert latest(down)[series("up")] == 0.0
    assert latest(down)[series("scrape_samples_scraped")] == 0.0
    assert "could not be asked" in watcher.health().error
    assert not stale(watcher.sample(NOW_MS + 20_000)), "a series ends once"
    server, thread = prometheus_client.start_http_server(port, "127.0.0.1", registry)
    try:
        assert latest(watcher.sample(NOW_MS + 30_000))[series("hits_total")] == 3.0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_series_that_vanishes_gets_a_stale_marker(scraper, serve):
    """Only that one."""
    registry = CollectorRegistry()
    gauge = Gauge("level", "Level.", ["x"], registry=registry)
    gauge.labels("a").set(1)
    gauge.labels("b").set(2)
    routes = [Route("/metrics", lambda _: Response(prometheus_client.generate_latest(registry)))]
    with serve(routes) as address:
        watcher = scraper(f"{address}/metrics")
        watcher.sample(NOW_MS)
        gauge.remove("b")
        batch = watcher.sample(NOW_MS + 1000)
    assert stale(batch) == {series("level", x="b")}
    assert latest(batch)[series("level", x="a")] == 1.0


@pytest.mark.parametrize("native", [True, False])
def test_a_real_prometheus_is_read_whole(scraper, real, tmp_path, until, native):
    """Debian's prometheus on a free port: its own /metrics, as protobuf and as OpenMetrics text."""
    (tmp_path / "p.yml").write_text("")
    command = [
        real("prometheus"),
        f"--config.file={tmp_path}/p.yml",
        f"--storage.tsdb.path={tmp_path}/d",
        "--web.listen-address=127.0.0.1:0",
    ]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        found = until(
            lambda: re.search(r"[Ll]istening on.*address=127\.0\.0\.1:(\d+)", (tmp_path / "log").read_text()),
            30,
            "prometheus' start",
        )
        watcher = scraper(f"http://127.0.0.1:{found.group(1)}/metrics", native_histograms=native)
        settled = lambda: not watcher.sample(NOW_MS).metadata and watcher.health().up  # noqa: E731
        until(settled, 30, "a page whose metadata was all sent before")
        batch = watcher.sample(NOW_MS + 1)
    finally:
        process.terminate()
        process.wait(60)
        log.close()
    names = {dict(labels)["__name__"] for labels in batch.series.labels}
    assert {"prometheus_build_info", "go_goroutines", "process_resident_memory_bytes"} <= names
    assert latest(batch)[series("scrape_samples_scraped")] > 200
    down = watcher.sample(NOW_MS + 2)
    assert latest(down)[series("up")] == 0.0
    assert len(stale(down)) > 200


def test_native_histograms_are_asked_for(scraper, serve):
    """The Accept header names the protobuf format first, and the page is read as what it says it is."""
    asked = []
    family = MetricFamily(name="latency", type=4)
    histogram = family.metric.add().histogram
    histogram.schema, histogram.sample_count, histogram.sample_sum = 2, 3, 1.5
    histogram.positive_span.add(offset=4, length=1)
    histogram.positive_delta.append(3)
    body = family.SerializeToString()

    def answer(request):
        asked.append(request.headers["accept"])
        return Response(bytes([len(body)]) + body, media_type="application/vnd.google.protobuf")

    with serve([Route("/metrics", answer)]) as address:
        watcher = scraper(f"{address}/metrics")
        first = watcher.sample(NOW_MS)
        scraper(f"{address}/metrics", native_histograms=False).sample(NOW_MS)
    assert asked[0].startswith("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily")
    assert asked[1].startswith("application/openmetrics-text")
    assert first.histograms.positive_index.tolist() == [4]
    gone = watcher.sample(NOW_MS + 1)
    assert gone.histograms.sum.view(np.uint64).tolist() == [STALE_BITS]
    assert latest(gone)[series("up")] == 0.0


@pytest.mark.parametrize(
    ("routes", "given", "message", "reason"),
    [
        (page("up 1", 500), {}, "must answer 200, got 500", "status"),
        (page("<html>"), {}, "metric name", "parse"),
        (page(b"up\xff 1"), {}, "must be UTF-8", "encoding"),
        (page("x" * 3000), {"body_bytes_max": 2000}, "must not be above 2000 bytes", "size"),
        (
            page(gzip.compress(b"\0" * 50_000_000), **{"Content-Encoding": "gzip"}),
            {"body_bytes_max": 100_000},
            "must not be above 100000 bytes",
            "size",
        ),
        (page(b"no gzip", **{"Content-Encoding": "gzip"}), {}, "must be gzip", "encoding"),
        (page(b"up 1", **{"Content-Encoding": "br"}), {}, "gzip or plain", "encoding"),
        ([Route("/metrics", lambda _: RedirectResponse("/metrics"))], {}, "at most 3 times", "redirect"),
        (
            [Route("/metrics", lambda _: RedirectResponse("http://169.254.1.1/x"))],
            {},
            "must stay on",
            "redirect",
        ),
        (
            [Route("/metrics", lambda _: RedirectResponse("file:///etc/passwd"))],
            {},
            "must stay on",
            "redirect",
        ),
        (
            [Route("/metrics", lambda _: RedirectResponse("/x"))],
            {"follow_redirects": False},
            "is off",
            "redirect",
        ),
    ],
)
def test_a_page_that_cannot_be_taken_marks_the_target_down(scraper, serve, routes, given, message, reason):
    """up is 0, the reason is counted, the message says what must hold; nothing is raised."""
    with serve(routes) as address:
        watcher = scraper(f"{address}/metrics", **given)
        batch = watcher.sample(NOW_MS)
    assert {dict(labels)["__name__"] for labels in latest(batch)} == {
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
    }
    assert latest(batch)[series("up")] == 0.0
    assert message in watcher.health().error
    assert watcher.counters.get("scrape_failures_total", job="j", reason=reason) == 1


def test_a_redirect_on_the_same_host_is_followed(scraper, serve):
    """And gzip is read."""
    routes = [
        Route("/metrics", lambda _: RedirectResponse("/real")),
        Route("/real", lambda _: Response(gzip.compress(b"level 4\n"), headers={"Content-Encoding": "gzip"})),
    ]
    with serve(routes) as address:
        batch = scraper(f"{address}/metrics").sample(NOW_MS)
    assert latest(batch)[series("level")] == 4.0


def test_a_target_that_does_not_answer_is_down_within_its_timeout(scraper, serve):
    """The connection stands, the page does not come."""
    leave = threading.Event()

    def slow(_):
        leave.wait(120)
        return Response("up 1")

    with serve([Route("/metrics", slow)]) as address:
        watcher = scraper(f"{address}/metrics", timeout_s=0.2)
        batch = watcher.sample(NOW_MS)
        leave.set()
    assert latest(batch)[series("up")] == 0.0
    assert latest(batch)[series("scrape_duration_seconds")] < 5
    assert "within 0.2s" in watcher.health().error


def test_connections_are_kept(serve, client, scraper):
    """Ten scrapes, one connection."""
    peers = set()

    def answer(request):
        peers.add(request.client.port)
        return Response("level 1")

    with serve([Route("/metrics", answer)]) as address:
        watcher = scraper(f"{address}/metrics")
        for turn in range(10):
            watcher.sample(NOW_MS + turn)
    assert isinstance(client, httpx2.Client)
    assert len(peers) == 1
