"""A real Prometheus scrapes native histograms from a real server, and finds exactly our counts."""

import json
import math
import random
import subprocess
import threading
import urllib.parse
import urllib.request

import ninesight
import pytest
from ninesight.buckets import upper_bound
from ninesight.testing import histogram

from .. import needs
from ..ports import free_port


@pytest.fixture
def served(sdk, until):
    """The metrics app on a real server; gives its port."""
    uvicorn = needs.package("uvicorn")
    config = uvicorn.Config(ninesight.metrics_app(), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture
def prometheus(real, served, tmp_path, until):
    """`prometheus(query)` gives the result vector of a Prometheus that scrapes the app each second."""
    binary = real("prometheus")
    port = free_port()  # Prometheus does not tell the port it took.
    (tmp_path / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {"job_name": "sdk", "static_configs": [{"targets": [f"127.0.0.1:{served}"]}]}
                ],
            }
        )
    )
    process = subprocess.Popen(
        [
            binary,
            "--enable-feature=native-histograms",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def query(text):
        url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    try:
        until(lambda: query('up{job="sdk"} == 1'), 60.0)
        yield query
    finally:
        process.terminate()
        process.wait(60)


def test_prometheus_finds_exactly_our_counts_and_buckets(sdk, prometheus, until):
    """Counts, sums and every single native bucket; quantiles within 1.1 % of the exact ones."""
    ninesight.configure(histogram_buckets_max=1024)
    source = random.Random(11)
    durations = [source.lognormvariate(-3.0, 1.2) for _ in range(5_000)]
    with ninesight.call("scraped", "7") as call:
        for duration_s in durations:
            call.add_stage("inference", duration_s)
        call.predictions(41)
    labels = '{model="scraped",version="7"}'
    until(lambda: prometheus(f"model_predictions_total{labels} == 41"))
    ours = histogram(sdk(), "model_stage_duration_seconds", model="scraped", version="7", stage="inference")

    (theirs,) = until(lambda: prometheus(f"model_stage_duration_seconds{labels}"))
    assert theirs["metric"]["stage"] == "inference"
    native = theirs["histogram"][1]
    assert (int(native["count"]), float(native["sum"])) == (5_000, ours.sum)
    found = {round(float(upper), 12): int(count) for _, _, upper, count in native["buckets"]}
    expected = {round(upper_bound(index, ours.schema), 12): count for index, count in ours.positive}
    assert found == expected

    ordered = sorted(durations)
    for q in (0.5, 0.9, 0.95, 0.99):
        exact = ordered[math.ceil(q * len(ordered)) - 1]
        (answer,) = prometheus(f"histogram_quantile({q}, model_stage_duration_seconds{labels})")
        assert abs(float(answer["value"][1]) / exact - 1) <= ours.relative_error <= 0.011

    (ok,) = prometheus('model_requests_total{model="scraped",outcome="ok"}')
    assert ok["value"][1] == "1"
    (count,) = prometheus(f"histogram_count(model_request_duration_seconds{labels})")
    assert count["value"][1] == "1"
