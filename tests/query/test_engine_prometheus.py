"""The same data and the same queries in a real Prometheus: the answers are the same.

No sample and no subquery step lies on the edge of a window: whether that counts changed with Prometheus 3.
"""

import contextlib
import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from ninesight_query import LocalEngine, labels_of
from ninesight_store.contract import Batch, SeriesTable
from ninesight_store.memory import MemoryStore

from ..ports import free_port

START_S = 1_600_000_800
STEPS = 480
QUERIES = [
    "requests_total",
    "sum by (model) (rate(requests_total[5m]))",
    "rate(requests_total[1m])",
    "increase(requests_total[20m])",
    "irate(requests_total[2m]) > 1",
    "histogram_quantile(0.99, sum by (le) (rate(latency_seconds_bucket[5m])))",
    "histogram_quantile(0.5, rate(latency_seconds_bucket[3m]))",
    "avg_over_time(temperature[10m])",
    "max_over_time(temperature[10m]) - min_over_time(temperature[10m])",
    "stddev_over_time(temperature[7m])",
    "quantile_over_time(0.9, temperature[7m])",
    "deriv(temperature[10m])",
    "predict_linear(temperature[20m], 3600)",
    "delta(temperature[5m] offset 3m)",
    "changes(temperature[10m]) + resets(requests_total[10m])",
    "avg without (instance) (temperature)",
    "stdvar by (model) (temperature)",
    "quantile(0.25, temperature)",
    "topk by (model) (1, temperature)",
    "count_values('v', round(temperature, 10))",
    "temperature > 60 or requests_total",
    "temperature and on(model) (requests_total > 100)",
    "temperature unless temperature > 60",
    "rate(requests_total[5m]) / on(model, instance) group_left(zone) (temperature * on(model, instance) group_right(zone) info_metric)",
    "requests_total * on(model, instance) group_left(zone) info_metric",
    "max_over_time(sum(rate(requests_total[2m]))[20m:3m])",
    "sum_over_time(temperature[11m:90s] offset 1m)",
    "requests_total @ 1600003000",
    "requests_total @ end() - requests_total",
    "absent(temperature{model='none'})",
    "label_replace(temperature, 'x', '$2-$1', 'instance', '(.)(.)')",
    "label_join(temperature, 'x', '/', 'model', 'instance')",
    "clamp(temperature, 55, 65) % 7 ^ 2",
    "hour(vector(time())) + minute()",
    "timestamp(temperature) - time()",
    "scalar(sum(temperature)) + vector(1)",
    "sum(temperature) by (model) == bool 120",
    "bottomk(2, temperature)",
    "-temperature atan2 requests_total",
]


def series():
    """Counters with resets and gaps, gauges, classic buckets and an info metric, on two scrape grids."""
    rng = np.random.default_rng(11)
    out = []
    for k in range(12):
        own = {"model": f"m{k % 3}", "instance": f"i{k}"}
        shift = (k % 2) * 7_000 + 123
        times = START_S * 1000 + np.arange(STEPS) * 15_000 + shift
        count = np.cumsum(rng.poisson(2 + k, STEPS)).astype(float)
        if k % 4 == 1:
            count[200:] -= count[200]
        keep = np.ones(STEPS, bool)
        if k % 5 == 2:
            keep[100:160] = False
        out.append((labels_of("requests_total", own), times[keep], count[keep]))
        heat = np.round(60 + 10 * np.sin(np.arange(STEPS) / 30 + k) + rng.normal(0, 2, STEPS), 3)
        out.append((labels_of("temperature", own), times, heat))
        out.append((labels_of("info_metric", {**own, "zone": f"z{k % 2}"}), times, np.ones(STEPS)))
        if k < 3:
            bounds = [0.01, 0.05, 0.1, 0.5, 1.0, math.inf]
            counts = np.cumsum(rng.poisson(3, (len(bounds), STEPS)), axis=1).cumsum(axis=0)
            for bound, line in zip(bounds, counts, strict=True):
                le = "+Inf" if math.isinf(bound) else str(bound)
                out.append(
                    (labels_of("latency_seconds_bucket", {**own, "le": le}), times, line.astype(float))
                )
    return out


def ours():
    """The data in a LocalEngine."""
    store, data = MemoryStore(), series()
    lengths = [len(times) for _, times, _ in data]
    store.write(
        Batch(
            SeriesTable(tuple(labels for labels, _, _ in data)),
            np.repeat(np.arange(len(data)), lengths).astype(np.int32),
            np.concatenate([times for _, times, _ in data]),
            np.concatenate([values for _, _, values in data]),
        )
    )
    return LocalEngine(store)


def open_metrics():
    """The data as promtool reads it."""
    lines = []
    for labels, times, values in sorted(series(), key=lambda each: each[0]):
        name = dict(labels)["__name__"]
        body = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
        lines += [
            f"{name}{{{body}}} {value!r} {moment / 1000:.3f}"
            for moment, value in zip(times.tolist(), values.tolist(), strict=True)
        ]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, real):
    """A real Prometheus over a block of the data; its address."""
    binary, promtool = real("prometheus"), real("promtool")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "data.om").write_text(open_metrics())
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    subprocess.run(
        [
            promtool,
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(folder / "data.om"),
            str(folder / "tsdb"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/-/ready", timeout=2):
                break
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def ask(address, path, **parameters):
    """One query over HTTP."""
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        pytest.fail(f"{parameters['query']}: {error.read().decode()}")


def assert_equal(theirs, mine, query):
    """Equal series and points; sums may differ in the last digits."""
    assert theirs.keys() == mine.keys(), query
    for labels, points in theirs.items():
        assert points.keys() == mine[labels].keys(), (query, labels)
        for moment, value in points.items():
            np.testing.assert_allclose(
                mine[labels][moment],
                value,
                rtol=1e-9,
                atol=1e-9,
                equal_nan=True,
                err_msg=f"{query} {labels} {moment}",
            )


@pytest.mark.parametrize("query", QUERIES)
def test_ranges_agree(query, prometheus):
    """Every point of a range query is Prometheus' own."""
    start, end, step = START_S + 1_800.5, START_S + 7_000.5, 97
    data = ask(prometheus, "query_range", query=query, start=start, end=end, step=step)
    theirs = {
        tuple(sorted(each["metric"].items())): {round(t * 1000): float(v) for t, v in each["values"]}
        for each in data["result"]
    }
    matrix = ours().range(query, round(start * 1000), round(end * 1000), step * 1000).value
    mine = {
        labels: {
            int(t): float(matrix.values[row, k])
            for k, t in enumerate(matrix.timestamps)
            if matrix.present[row, k]
        }
        for row, labels in enumerate(matrix.labels)
    }
    assert_equal(theirs, mine, query)


@pytest.mark.parametrize("query", QUERIES)
def test_instants_agree(query, prometheus):
    """An instant query too."""
    moment = START_S + 5_000.5
    data = ask(prometheus, "query", query=query, time=moment)
    theirs = {tuple(sorted(each["metric"].items())): {0: float(each["value"][1])} for each in data["result"]}
    vector = ours().instant(query, round(moment * 1000)).value
    mine = {labels: {0: float(vector.values[row])} for row, labels in enumerate(vector.labels)}
    assert_equal(theirs, mine, query)
