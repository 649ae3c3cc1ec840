"""`ninesight up` and a real Prometheus with the same targets and rules: the same replies, reply by reply."""

import contextlib
import functools
import http.server
import json
import math
import threading
import time

import httpx2
import pytest
import yaml
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_query import RemoteEngine, RemoteSettings
from ninesight_query.contract import Exemplar, Matcher
from ninesight_query.testing_servers import free_port, running_prometheus
from ninesight_store.contract import MatchOp
from ninesight_suite.testing import eventually, running_suite

COUNTER, GAUGE, HISTOGRAM = 0, 1, 4
OURS = {
    "targets": {"kind", "samples", "droppedTargetCounts"},
    "status/runtimeinfo": {"hostname", "serverTime", "GOMEMLIMIT", "queries"},
    "status/buildinfo": {"application", "features"},
    "status/tsdb": {"store"},
}
"""Keys beyond Prometheus 2.42's: of Prometheus 3 (droppedTargetCounts, hostname, serverTime, GOMEMLIMIT) or our own."""


@functools.cache
def at_ms():
    """When the samples were taken: as the first test begins, not as the file is imported (minutes before)."""
    return time.time_ns() // 1_000_000_000 * 1000 - 20_000


def page():
    """A delimited protobuf page: a counter and a native histogram with exemplars, a gauge, odd help."""
    hits = MetricFamily(name="hits_total", help='How "often"\nasked.', type=COUNTER)
    for path in ("/a", "/b"):
        metric = hits.metric.add(timestamp_ms=at_ms())
        metric.label.add(name="path", value=path)
        metric.counter.value = len(path)
    exemplar = hits.metric[0].counter.exemplar
    exemplar.value = 1
    exemplar.label.add(name="trace_id", value="beef")
    exemplar.timestamp.seconds = at_ms() // 1000 - 1
    level = MetricFamily(name="level", help="How high.", type=GAUGE)
    level.metric.add(timestamp_ms=at_ms()).gauge.value = -2.5
    waits = MetricFamily(name="wait_seconds", help="How long.", type=HISTOGRAM)
    histogram = waits.metric.add(timestamp_ms=at_ms()).histogram
    histogram.sample_count, histogram.sample_sum = 9, 4.5
    histogram.schema, histogram.zero_threshold, histogram.zero_count = 3, 0.001, 2
    histogram.positive_span.add(offset=-4, length=2)
    histogram.positive_span.add(offset=1, length=1)
    histogram.positive_delta.extend([1, 1, 0])
    histogram.negative_span.add(offset=2, length=1)
    histogram.negative_delta.append(2)
    body = b""
    for family in (hits, level, waits):
        text = family.SerializeToString()
        assert len(text) < 1 << 14
        body += bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text
    return body


@contextlib.contextmanager
def serving_page():
    """Serve the page; yields host:port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind = (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            )
            body = page()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


RULES = {
    "groups": [
        {
            "name": "one",
            "interval": "1s",
            "limit": 10,
            "rules": [
                {"record": "hits:sum", "expr": "sum(hits_total)", "labels": {"kind": "test"}},
                {
                    "alert": "Low",
                    "expr": "level < 0",
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "{{ $labels.job }} is at {{ $value }}"},
                },
                {"alert": "Never", "expr": "level > 0", "for": "5m", "keep_firing_for": "1m"},
            ],
        },
        {
            "name": "two",
            "interval": "1s",
            "rules": [
                {"alert": "Other", "expr": "vector(1) > 2"},
                {"record": "broken", "expr": "hits_total+on() hits_total"},
            ],
        },
    ]
}


@pytest.fixture(scope="module")
def both(tmp_path_factory, real):
    """Addresses of (ours, theirs), once both have scraped and evaluated."""
    binary = real("prometheus")
    folder = tmp_path_factory.mktemp("both")
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES))
    with serving_page() as target, contextlib.ExitStack() as stack:
        dead = f"127.0.0.1:{free_port()}"
        jobs = [("page", target, {"zone": "z"}), ("dead", dead, {})]
        theirs = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [to], "labels": labels}]}
                for job, to, labels in jobs
            ],
        }
        own = {
            "collector": {
                "scrape": [
                    {"job": job, "targets": [to], "labels": labels, "interval": "1s", "timeout": "1s"}
                    for job, to, labels in jobs
                ]
            },
            "alerts": {"rule_files": [str(rules)], "evaluation_interval": "1s"},
        }
        suite = stack.enter_context(running_suite(folder / "own", own))
        options = ["--enable-feature=native-histograms,exemplar-storage"]
        prometheus = stack.enter_context(
            running_prometheus(
                binary,
                folder / "prometheus",
                config=yaml.safe_dump(theirs),
                options=options,
            )
        )
        for address in (suite.api_url, prometheus):
            eventually(lambda address=address: settled(address), timeout_s=60, what=f"data at {address}")
        yield suite.api_url, prometheus


def settled(address):
    """True once both targets were looked at and the alert fires."""
    health = {target["health"] for target in data(address, "targets")["activeTargets"] if target["scrapeUrl"]}
    states = {alert["state"] for alert in data(address, "alerts")["alerts"]}
    rules = {rule["health"] for group in data(address, "rules")["groups"] for rule in group["rules"]}
    ended = rules == {"ok", "err"} and states == {"firing"}
    return {"up", "down"} <= health and ended and data(address, "query", query="wait_seconds")


def get(address, path, **params):
    """One reply."""
    return httpx2.get(f"{address}/api/v1/{path}", params=params, timeout=30)


def data(address, path, **params):
    """The data of a successful reply."""
    reply = get(address, path, **params)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def differences(own, wanted, place="data", more=frozenset()):
    """Keys that one side lacks and types that differ, as text; of lists the first item stands for all."""
    if isinstance(wanted, dict) and isinstance(own, dict):
        missing = [f"{place}.{key} is missing" for key in wanted.keys() - own.keys()]
        extra = [f"{place}.{key} is ours alone" for key in own.keys() - wanted.keys() - more]
        deeper = [
            differences(own[key], wanted[key], f"{place}.{key}", more) for key in own.keys() & wanted.keys()
        ]
        return [*missing, *extra, *(text for found in deeper for text in found)]
    if isinstance(wanted, list) and isinstance(own, list):
        return differences(own[0], wanted[0], f"{place}[0]", more) if own and wanted else []
    kinds = [int | float if isinstance(value, int | float) else type(value) for value in (own, wanted)]
    return [] if kinds[0] == kinds[1] else [f"{place} is {kinds[0]}, not {kinds[1]}"]


def scraped(address):
    """The scrape targets by pool."""
    found = data(address, "targets")["activeTargets"]
    return {target["scrapePool"]: target for target in found if target.get("kind", "scrape") == "scrape"}


def test_targets(both):
    """The same targets with the same labels, addresses and health; times as RFC 3339."""
    own, wanted = scraped(both[0]), scraped(both[1])
    assert own.keys() == wanted.keys() == {"page", "dead"}
    same = ("labels", "scrapePool", "scrapeUrl", "globalUrl", "health", "scrapeInterval", "scrapeTimeout")
    for pool, target in wanted.items():
        assert differences(own[pool], target, pool, OURS["targets"]) == []
        assert {key: own[pool][key] for key in same} == {key: target[key] for key in same}
        assert own[pool]["discoveredLabels"] == target["discoveredLabels"]
        assert bool(own[pool]["lastError"]) == bool(target["lastError"])
        assert own[pool]["lastScrape"].endswith("Z")


@pytest.mark.parametrize(("state", "count"), [("active", 2), ("ANY", 2), ("dropped", 0), ("bogus", 0)])
def test_targets_by_state(both, state, count):
    """`state` in any case; an unknown one finds nothing."""
    for address in both:
        found = data(address, "targets", state=state)
        assert (
            len([target for target in found["activeTargets"] if target["scrapeUrl"].startswith("http")])
            == count
        )
        assert found["droppedTargets"] == []


def test_targets_of_a_pool(both):
    """`scrapePool`, which came after 2.42, picks one job."""
    assert [
        target["scrapePool"] for target in data(both[0], "targets", scrapePool="page")["activeTargets"]
    ] == ["page"]


@pytest.mark.parametrize(
    "params",
    [
        {"metric": "hits_total"},
        {"match_target": '{job="page"}', "metric": "wait_seconds"},
        {"match_target": '{zone!="z"}'},
        {"metric": "nothing"},
        {"limit": "0"},
    ],
)
def test_target_metadata(both, params):
    """Type, help and unit as the target says them."""
    assert data(both[0], "targets/metadata", **params) == data(both[1], "targets/metadata", **params)


def test_all_target_metadata(both):
    """Without a metric each entry names its own."""
    found = [sorted(data(address, "targets/metadata", match_target='{job="page"}'), key=lambda one: one["metric"]) for address in both]  # fmt: skip
    assert found[0] == found[1]
    assert len(data(both[0], "targets/metadata", limit="1")) == 1


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("targets/metadata", {"limit": "x"}),
        ("targets/metadata", {"match_target": "{x"}),
        ("rules", {"type": "x"}),
    ],
)
def test_bad_requests(both, path, params):
    """The same status and errorType."""
    found = [get(address, path, **params) for address in both]
    assert found[0].status_code == found[1].status_code == 400
    assert found[0].json()["errorType"] == found[1].json()["errorType"]


@pytest.mark.parametrize(("limit", "status"), [("x", 400), ("0", 400), ("10001", 400), ("1", 200)])
def test_the_limit_of_tsdb(both, limit, status):
    """2.42 has no `limit`; Prometheus 3 wants a positive number, as we do."""
    reply = get(both[0], "status/tsdb", limit=limit)
    assert reply.status_code == status
    if status == 200:
        assert len(reply.json()["data"]["seriesCountByMetricName"]) == 1


def test_scrape_pools(both):
    """The jobs, sorted."""
    assert data(both[0], "scrape_pools") == data(both[1], "scrape_pools") == {"scrapePools": ["dead", "page"]}


@pytest.mark.parametrize("metric", ["hits_total", "level", "wait_seconds"])
def test_metadata(both, metric):
    """Type, help and unit of a metric."""
    assert data(both[0], "metadata", metric=metric) == data(both[1], "metadata", metric=metric)


@pytest.mark.parametrize("query", ["hits_total", "sum(rate(hits_total[5m]))", "wait_seconds", "level + 1"])
def test_exemplars(both, query):
    """Of the series that a query reads, whatever it does with them."""
    span = {"query": query, "start": at_ms() / 1000 - 60, "end": at_ms() / 1000 + 60}
    found, wanted = (data(address, "query_exemplars", **span) for address in both)
    assert found == wanted
    assert bool(found) == ("hits" in query)
    assert not found or found[0]["exemplars"][0]["labels"] == {"trace_id": "beef"}


def test_exemplars_of_a_remote_engine(both):
    """A suite that asks either of them gets the same exemplars."""
    selector = (Matcher("__name__", MatchOp.EQUAL, "hits_total"),)
    found = []
    for address in both:
        engine = RemoteEngine(RemoteSettings(address))
        found.append(engine.exemplars([selector], at_ms() - 60_000, at_ms() + 60_000))
        engine.close()
    assert found[0] == found[1]
    ((one,),) = (each.exemplars for each in found[0])
    assert one == Exemplar((("trace_id", "beef"),), 1.0, at_ms() - 1000)


@pytest.mark.parametrize(
    "query", ["wait_seconds", "histogram_count(wait_seconds)", "histogram_sum(wait_seconds)", "level", "hits_total"]
)  # fmt: skip
def test_samples(both, query):
    """Native histograms and floats of the page at their own time; a bucket's edge may differ in its last digit.

    Not their quantiles: 2.42 interpolates inside a bucket on a straight line, Prometheus 3 on a curve.
    """
    found, wanted = (
        data(address, "query", query=query, time=at_ms() / 1000 + 0.5)["result"] for address in both
    )
    key = json.dumps
    assert close(sorted(found, key=key), sorted(wanted, key=key))
    assert found


def close(own, wanted):
    """True where both are the same but for rounding of numbers written as text."""
    if isinstance(wanted, dict):
        return own.keys() == wanted.keys() and all(close(own[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(own) == len(wanted) and all(map(close, own, wanted))
    if own == wanted:
        return True
    return type(own) is type(wanted) is str and math.isclose(float(own), float(wanted), rel_tol=1e-15)


def test_rules(both):
    """Groups and rules with the same keys, and the same values but for times."""
    own, wanted = (data(address, "rules")["groups"] for address in both)
    assert differences(own, wanted) == []
    assert {rule["health"] for group in own for rule in group["rules"]} == {"ok", "err"}
    assert [plain(group) for group in own] == [plain(group) for group in wanted]
    # A group without a rule of the kind is left out, as Prometheus 3 does; 2.42 lists it empty.
    kinds = {
        kind: [data(address, "rules", type=kind)["groups"] for address in both]
        for kind in ("alert", "record")
    }
    for found in kinds.values():
        assert [plain(group) for group in found[0]] == [plain(group) for group in found[1] if group["rules"]]


def plain(group):
    """A group without what the clock decides. 2.42 leaves out empty labels of a recording rule, 3 does not."""
    timed = ("lastEvaluation", "evaluationTime", "activeAt")
    rules = [
        {"labels": {}}
        | {key: value for key, value in rule.items() if key not in (*timed, "alerts", "lastError")}
        | {"failed": bool(rule.get("lastError"))}
        | {"alerts": [{k: v for k, v in alert.items() if k not in timed} for alert in rule.get("alerts", ())]}
        for rule in group["rules"]
    ]
    return {key: value for key, value in group.items() if key not in timed} | {"rules": rules}


def test_alerts(both):
    """The firing alert with labels, annotations and value."""
    found, wanted = (data(address, "alerts") for address in both)
    assert differences(found, wanted) == []
    (own,), (other,) = found["alerts"], wanted["alerts"]
    assert {key: own[key] for key in own if key != "activeAt"} == {
        key: other[key] for key in other if key != "activeAt"
    }


@pytest.mark.parametrize("name", ["buildinfo", "runtimeinfo", "tsdb", "config"])
def test_status(both, name):
    """The same keys and types; what we tell beyond is listed above."""
    own, wanted = (data(address, f"status/{name}") for address in both)
    assert differences(own, wanted, more=OURS.get(f"status/{name}", frozenset())) == []


def test_flags(both):
    """Every flag we tell is a text that Prometheus (2.42, or 3 for the OTLP receiver) has under that name."""
    own, wanted = (data(address, "status/flags") for address in both)
    assert own.keys() - wanted.keys() == {"web.enable-otlp-receiver"}
    assert all(isinstance(value, str) for value in own.values())
    assert own["query.lookback-delta"] == wanted["query.lookback-delta"] == "5m"


def test_what_tsdb_counts(both):
    """The page's series are counted as there."""
    for address in both:
        found = data(address, "status/tsdb")
        assert {"name": "zone", "value": 1} in data(address, "status/tsdb", limit=100)[
            "labelValueCountByLabelName"
        ]
        assert found["headStats"]["numSeries"] > 3
        assert len(found["seriesCountByLabelValuePair"]) == 10
