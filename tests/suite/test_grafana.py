"""Every call that Grafana's Prometheus data source makes, and KEDA's, replayed against a running suite.

Grafana posts forms where it may, and asks again by GET where a POST is answered 405.
"""

import functools
import time

import httpx2
import pytest
from ninesight_suite.testing import now_ms, push, running_suite
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

HEADERS = {"Accept-Encoding": "gzip", "User-Agent": "Grafana/12.0.0", "X-Datasource-Uid": "u"}
TRACE = bytes(range(16))


@functools.cache
def at_ms():
    """When the samples were taken: as the first test begins, not as the file is imported (minutes before)."""
    return now_ms() // 1000 * 1000 - 5_000


def at_s():
    return at_ms() / 1000


def span():
    """A minute before the samples to 15 s after them."""
    return {"start": f"{at_s() - 60:.3f}", "end": f"{at_s() + 15:.3f}"}


def measured():
    """An OTLP request: a counter with an odd label name, a classic and a native histogram, exemplars on both."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    metrics = resource.scope_metrics.add().metrics
    stamp = {"time_unix_nano": at_ms() * 1_000_000}
    hits = metrics.add(name="hits", description="How often.").sum
    hits.is_monotonic, hits.aggregation_temporality = True, 2
    for path, count in (("/a", 3), ("/b", 5)):
        point = hits.data_points.add(as_int=count, **stamp)
        point.attributes.add(key="path").value.string_value = path
    waits = metrics.add(name="waits", unit="s").histogram
    waits.aggregation_temporality = 2
    point = waits.data_points.add(
        count=4, sum=2.0, explicit_bounds=[0.5, 1.0], bucket_counts=[1, 2, 1], **stamp
    )
    point.exemplars.add(as_double=0.75, trace_id=TRACE, span_id=TRACE[:8], **stamp)
    native = metrics.add(name="native", unit="s").exponential_histogram
    native.aggregation_temporality = 2
    point = native.data_points.add(count=4, sum=2.0, scale=0, zero_count=1, **stamp)
    point.positive.bucket_counts.extend([1, 2])
    return request.SerializeToString()


RULES = """
groups:
- name: g
  interval: 1s
  rules:
  - {alert: Busy, expr: hits_total > 4, labels: {severity: page}, annotations: {summary: "{{ $value }}"}}
  - {record: "hits:sum", expr: sum(hits_total)}
"""


@pytest.fixture(scope="module")
def grafana(tmp_path_factory):
    """A client of a suite that holds the samples and evaluates the rules."""
    folder = tmp_path_factory.mktemp("grafana")
    (folder / "rules.yml").write_text(RULES)
    with running_suite(folder, {"alerts": {"rule_files": ["rules.yml"]}}) as suite:
        assert push(suite.client, suite.api_url, measured()).status_code == 200
        with httpx2.Client(base_url=suite.api_url, headers=HEADERS, timeout=30) as client:
            yield client


def posted(client, path, **form):
    """The reply to a form."""
    return client.post(f"/api/v1/{path}", data=form)


def resource(client, path, **params):
    """What Grafana gets for a resource: POST first, GET where that is not allowed."""
    reply = posted(client, path, **params)
    if reply.status_code in (400, 405):
        reply = client.get(f"/api/v1/{path}", params=params)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["status"] == "success"
    return body["data"]


def test_the_health_check(grafana):
    """1+1 four seconds after 1970 is a scalar; the build tells of no features, so we are a Prometheus."""
    reply = posted(grafana, "query", query="1+1", time="4", timeout="30s")
    assert reply.json() == {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}
    build = grafana.get("/api/v1/status/buildinfo").json()["data"]
    assert not build["features"]
    assert int(build["version"].split(".")[0]) >= 3


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_instant_query(grafana, method):
    """Values are texts, times are seconds; both methods."""
    form = {"query": "hits_total", "time": f"{at_s() + 1:.3f}"}
    reply = (
        posted(grafana, "query", **form) if method == "POST" else grafana.get("/api/v1/query", params=form)
    )
    rows = reply.json()["data"]["result"]
    assert [row["value"] for row in rows] == [[at_s() + 1, "3"], [at_s() + 1, "5"]]
    assert [row["metric"]["path"] for row in rows] == ["/a", "/b"]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_range_query(grafana, method):
    """A panel's query with times as seconds and the step as a number or a duration."""
    for step in ("15", "15s", "15.000"):
        form = {"query": "sum(hits_total)", **span(), "step": step, "timeout": "60s"}
        reply = (
            posted(grafana, "query_range", **form)
            if method == "POST"
            else grafana.get("/api/v1/query_range", params=form)
        )
        data = reply.json()["data"]
        assert data["resultType"] == "matrix"
        assert data["result"] == [{"metric": {}, "values": [[at_s(), "8"], [at_s() + 15, "8"]]}]


def test_histograms(grafana):
    """A heatmap of classic buckets, a quantile, and a native histogram as such."""
    form = {**span(), "step": "15"}
    rows = posted(grafana, "query_range", query="sum by (le) (waits_seconds_bucket)", **form).json()["data"][
        "result"
    ]
    assert {row["metric"]["le"]: row["values"][0][1] for row in rows} == {"0.5": "1", "1.0": "3", "+Inf": "4"}
    (row,) = posted(grafana, "query_range", query="native_seconds", **form).json()["data"]["result"]
    at, point = row["histograms"][0]
    assert (at, point["count"], point["sum"]) == (at_s(), "4", "2")
    assert point["buckets"] == [[3, "-0", "0", "1"], [0, "1", "2", "1"], [0, "2", "4", "2"]]


def test_exemplars(grafana):
    """The dots over a panel lead to their traces."""
    form = {"query": "histogram_quantile(0.9, rate(waits_seconds_bucket[1m]))", **span()}
    (found,) = posted(grafana, "query_exemplars", **form).json()["data"]
    assert found["seriesLabels"]["le"] == "1.0"
    assert found["exemplars"] == [
        {
            "labels": {"span_id": TRACE[:8].hex(), "trace_id": TRACE.hex()},
            "value": "0.75",
            "timestamp": at_s(),
        }
    ]


def test_the_query_builder(grafana):
    """Label names, values and series, by span, selector and limit."""
    assert {"__name__", "job", "path"} <= set(resource(grafana, "labels", **span(), limit="40000"))
    assert resource(grafana, "labels", **span(), **{"match[]": "hits_total"}) == ["__name__", "job", "path"]
    assert resource(grafana, "label/path/values", **span(), limit="40000") == ["/a", "/b"]
    assert "hits_total" in resource(grafana, "label/__name__/values", **span())
    named = resource(grafana, "label/__name__/values", **span(), **{"match[]": '{job="shop",path="/a"}'})
    assert named == ["hits_total"]
    found = resource(grafana, "series", **span(), limit="1", **{"match[]": "hits_total"})
    assert found == [{"__name__": "hits_total", "job": "shop", "path": "/a"}]
    assert resource(grafana, "label/U__a_2e_b/values", **span()) == []
    assert posted(grafana, "label/path/values").status_code == 405


def test_metadata(grafana):
    """Types and help for the metric list, whole and bounded; by GET alone."""
    assert resource(grafana, "metadata", limit="40000")["hits_total"] == [
        {"type": "counter", "help": "How often.", "unit": ""}
    ]
    assert len(resource(grafana, "metadata", limit="1", limit_per_metric="1")) == 1
    assert posted(grafana, "metadata").status_code == 405


def test_rules_and_alerts(grafana):
    """The alerting pages and annotations read rules and alerts, by GET alone."""
    deadline = time.monotonic() + 60
    while not (firing := resource(grafana, "alerts")["alerts"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert firing[0]["labels"] == {"alertname": "Busy", "job": "shop", "path": "/b", "severity": "page"}
    assert (firing[0]["state"], firing[0]["value"]) == ("firing", "5e+00")
    (group,) = (group for group in resource(grafana, "rules")["groups"] if group["name"] == "g")
    assert [(rule["name"], rule["type"], rule["health"]) for rule in group["rules"]] == [
        ("Busy", "alerting", "ok"),
        ("hits:sum", "recording", "ok"),
    ]
    assert posted(grafana, "rules").status_code == posted(grafana, "alerts").status_code == 405


@pytest.mark.parametrize(
    ("form", "status", "kind"),
    [
        ({"query": "sum(("}, 400, "bad_data"),
        ({"query": "hits_total", "time": "x"}, 400, "bad_data"),
        ({"query": "hits_total + on () hits_total"}, 422, "execution"),
        ({"query": "1", "timeout": "0s"}, 503, "timeout"),
    ],
)
def test_errors_are_shown_in_the_panel(grafana, form, status, kind):
    """Grafana shows errorType and error of the envelope."""
    reply = posted(grafana, "query", **form)
    assert (reply.status_code, reply.json()["errorType"]) == (status, kind)
    assert reply.json()["error"]


def test_warnings_reach_the_panel(grafana):
    """Infos and warnings stand beside the data."""
    body = posted(
        grafana,
        "query",
        query="rate(waits_seconds_sum[5m]) + histogram_quantile(2, native_seconds)",
        time=f"{at_s()}",
    ).json()
    assert body["status"] == "success"
    assert body["warnings"]


def test_large_replies_are_compressed(grafana):
    """Grafana accepts gzip, and gets it."""
    form = {"query": "time()", "start": "0", "end": "11000", "step": "1"}
    reply = posted(grafana, "query_range", **form)
    assert reply.headers["content-encoding"] == "gzip"
    assert len(reply.json()["data"]["result"][0]["values"]) == 11_001


def test_keda_reads_one_number(grafana):
    """The scaler asks by GET at an RFC 3339 time and takes the only element."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s() + 1))
    reply = grafana.get("/api/v1/query", params={"query": "sum(hits_total)", "time": at})
    (row,) = reply.json()["data"]["result"]
    assert float(row["value"][1]) == 8
