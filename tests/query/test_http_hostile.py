"""Whatever is asked: a reply in Prometheus' envelope, never an internal error, never a page."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ninesight_query import EngineSettings, LocalEngine
from ninesight_query.http import (
    CardinalityCounter,
    EnginePool,
    Head,
    HttpSettings,
    Runtime,
    ServerFacts,
    routes,
)
from ninesight_query.testing import store_over
from starlette.applications import Starlette
from starlette.testclient import TestClient

LOAD = """
load 1m
  up{job="a", instance="1"} 1x10
  requests_total{job="a"} 0+3x10
  latency{job="a"} {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10
"""
PATHS = (
    "query", "query_range", "query_exemplars", "series", "labels", "label/job/values", "label/U__x_2e_y/values",
    "metadata", "format_query", "parse_query", "status/buildinfo", "status/config", "status/flags",
    "status/runtimeinfo", "status/tsdb",
)  # fmt: skip
NAMES = (
    "query", "time", "start", "end", "step", "timeout", "limit", "match[]", "stats", "lookback_delta", "metric",
    "limit_per_metric",
)  # fmt: skip
VALUES = (
    "", "up", "{}", "up[5m]", "rate(requests_total[2m])", "sum((", '"text"', "latency", "histogram_quantile(2, latency)",
    "0", "1", "-1", "600", "1e9", "-1e300", "NaN", "Inf", "1_0", "0x10", "5m", "-5m", "1h30m", "99999999999y",
    "1970-01-01T00:10:00Z", "2024-13-01T00:00:00Z", "9" * 400, "1." + "0" * 400, "\x00", "\ud83d\ude00", "١٢", " 1", "1 ",
)  # fmt: skip
FORM = st.lists(
    st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(VALUES), st.text(max_size=12))), max_size=8
)


@pytest.fixture(scope="module")
def client():
    """A client of the whole API over a small store with small limits."""
    store = store_over(LOAD)
    engine = LocalEngine(store, EngineSettings(samples_max=100_000, deadline_s=10.0))
    counter = CardinalityCounter(lambda: Head(store.series((), 0, 1 << 40), 1, 0, 600_000))
    facts = ServerFacts(
        lambda: "a: b\n", lambda: {"x": "y"}, lambda: Runtime(1, 1, 2, "/", "host", "15d"), counter
    )
    pool = EnginePool(2, 8)
    app = Starlette(
        routes=routes(engine, pool=pool, facts=facts, now_ms=lambda: 600_000, settings=HttpSettings())
    )
    with TestClient(app) as client:
        yield client
    pool.close()


def check(reply):
    """The envelope, whatever was asked."""
    assert reply.status_code in (200, 204, 400, 422, 503), reply.text
    if reply.status_code == 204:
        assert reply.content == b""
        return
    assert reply.headers["content-type"] == "application/json"
    body = json.loads(reply.content)
    if reply.status_code == 200:
        assert body.keys() <= {"status", "data", "warnings", "infos"}
        assert (body["status"], "data" in body) == ("success", True)
    else:
        assert body.keys() == {"status", "errorType", "error"}
        assert body["errorType"] in ("bad_data", "execution", "timeout", "unavailable")
        assert 0 < len(body["error"]) < 5_000


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), FORM, st.booleans())
@example("query", [("query", "\ud83d\ude00")], False)
@example("query_range", [("query", "1"), ("start", "0"), ("end", "1e300"), ("step", "1e300")], True)
def test_any_parameters(client, path, form, post):
    """Known and unknown values under known names, by both methods."""
    pairs = [(name, value.encode("utf-8", "replace").decode()) for name, value in form]
    if post and path in PATHS[:5]:
        fields = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        check(client.post(f"/api/v1/{path}", data=fields))
    else:
        check(client.get(f"/api/v1/{path}", params=pairs))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(["query", "series", "labels"]))
def test_any_body(client, body, path):
    """Bytes that are no form are refused with 400, or read as one that says nothing."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    check(client.post(f"/api/v1/{path}", content=b"match[]=up&" + body, headers=kind))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(
        alphabet=st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=20
    )
)
@example("U__")
@example("U___110000_")
def test_any_label_name(client, name):
    """Any UTF-8 is a label name; a broken escape is told."""
    if name not in (".", ".."):
        check(client.get(f"/api/v1/label/{quote(name, safe='')}/values"))
