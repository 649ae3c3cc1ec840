"""Our HTTP API beside a real Prometheus with the same samples: request by request, the same reply."""

import contextlib
import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import uvicorn
from ninesight_query import LocalEngine
from ninesight_query.contract_suite import AT_MS, BASE_MS, END_MS, batch, open_metrics
from ninesight_query.http import routes
from ninesight_query.testing_servers import running_prometheus
from ninesight_store.memory import MemoryStore
from starlette.applications import Starlette

AT, START, END = f"{AT_MS / 1000:.3f}", f"{BASE_MS / 1000:.3f}", f"{END_MS / 1000:.3f}"
SPAN = {"start": START, "end": END}
QUERY, RANGE, SERIES = "/api/v1/query", "/api/v1/query_range", "/api/v1/series"
LABELS, VALUES, METADATA = "/api/v1/labels", "/api/v1/label/model/values", "/api/v1/metadata"
EXEMPLARS = "/api/v1/query_exemplars"
FORMAT = "/api/v1/format_query"
COUNTS = "suite_requests_total"

SAME = [
    (QUERY, {"query": COUNTS, "time": AT}),
    (QUERY, {"query": COUNTS, "time": "2023-11-14T22:45:00Z"}),
    (QUERY, {"query": "sum by (model) (rate(suite_requests_total[5m]))", "time": AT}),
    (QUERY, {"query": "1 + 1", "time": "4"}),
    (QUERY, {"query": '"text"', "time": AT}),
    (QUERY, {"query": f"{COUNTS}[1m]", "time": AT}),
    (QUERY, {"query": "suite_odd", "time": AT}),
    (QUERY, {"query": "nothing", "time": AT}),
    (QUERY, {"query": f"{COUNTS} / 0 - {COUNTS} / 0", "time": AT}),
    (QUERY, {"query": f"{COUNTS} * 1e300 * 1e300", "time": AT}),
    (QUERY, {"query": f"{COUNTS} * 1e-9 / 3", "time": AT}),
    (QUERY, {"query": "suite_short", "time": str(BASE_MS // 1000 + 700)}),
    (RANGE, {"query": COUNTS, **SPAN, "step": "60"}),
    (RANGE, {"query": "suite_short", **SPAN, "step": "33.3"}),
    (RANGE, {"query": "suite_short", **SPAN, "step": "33s300ms"}),
    (RANGE, {"query": "time()", "start": "0", "end": "10", "step": "2.5"}),
    (RANGE, {"query": "nothing", **SPAN, "step": "1m"}),
    (RANGE, {"query": COUNTS, "start": "0", "end": "11000", "step": "1"}),
    (RANGE, {"query": COUNTS, "start": START, "end": START, "step": "1e9"}),
    (SERIES, {"match[]": [COUNTS, 'suite_seconds_bucket{le="1"}'], **SPAN}),
    (SERIES, {"match[]": "nothing", **SPAN}),
    (SERIES, {"match[]": COUNTS, "start": END, "end": START}),
    (LABELS, SPAN),
    (LABELS, {"match[]": COUNTS, **SPAN}),
    (LABELS, {"match[]": "nothing", **SPAN}),
    (VALUES, SPAN),
    (VALUES, {"match[]": ['suite_temperature{model=~"a|b"}'], **SPAN}),
    ("/api/v1/label/nolabel/values", SPAN),
    (METADATA, {"metric": "nothing"}),
    (METADATA, {"limit": "0"}),
    (FORMAT, {"query": "up+1"}),
    (FORMAT, {"query": 'sum(rate({__name__="x",job=~"a|b"}[5m:1m]offset 1h))by(job)>bool 2'}),
    (EXEMPLARS, {"query": COUNTS, **SPAN}),
    (EXEMPLARS, {"query": "up"}),
]
"""Same status, same data."""

BAD = [
    (QUERY, {}),
    (QUERY, {"query": ""}),
    (QUERY, {"query": "up +"}),
    (QUERY, {"query": "up", "time": "noon"}),
    (QUERY, {"query": "up", "time": "1e400"}),
    (QUERY, {"query": "up", "time": "0x10"}),
    (QUERY, {"query": "up", "time": "2023-11-14T22:13:20"}),
    (QUERY, {"query": "up", "time": " 1"}),
    (QUERY, {"query": "up", "timeout": "x"}),
    (QUERY, {"query": "up", "timeout": "-1s"}),
    (QUERY, {"query": "1", "timeout": "0"}),
    (QUERY, {"query": "1", "timeout": "-1"}),
    (QUERY, {"query": f"{COUNTS} * on (job) suite_temperature", "time": AT}),
    (QUERY, {"query": f'label_replace({COUNTS}, "a", "", "job", "(")', "time": AT}),
    (RANGE, {"query": "up"}),
    (RANGE, {"query": "up", "start": "0"}),
    (RANGE, {"query": "up", "start": "0", "end": "1"}),
    (RANGE, {"start": "0", "end": "1", "step": "1"}),
    (RANGE, {"query": "up", "start": "a", "end": "1", "step": "1"}),
    (RANGE, {"query": "up", "start": "0", "end": "b", "step": "1"}),
    (RANGE, {"query": "up", "start": "9", "end": "1", "step": "1"}),
    (RANGE, {"query": "up", "start": "0", "end": "1", "step": "0"}),
    (RANGE, {"query": "up", "start": "0", "end": "1", "step": "-1"}),
    (RANGE, {"query": "up", "start": "0", "end": "1", "step": "x"}),
    (RANGE, {"query": "up", "start": "0", "end": "1", "step": "NaN"}),
    (RANGE, {"query": "up", "start": "0", "end": "11001", "step": "1"}),
    (RANGE, {"query": "up[5m]", "start": "0", "end": "1", "step": "1"}),
    (RANGE, {"query": '"x"', "start": "0", "end": "1", "step": "1"}),
    (RANGE, {"query": "up", "start": "0", "end": "1", "step": "1", "timeout": "x"}),
    (SERIES, {}),
    (SERIES, {"match[]": "up["}),
    (SERIES, {"match[]": "{}"}),
    (SERIES, {"match[]": '{x=~".*"}'}),
    (SERIES, {"match[]": "rate(up[5m])"}),
    (SERIES, {"match[]": "up offset 5m"}),
    (SERIES, {"match[]": "up", "start": "x"}),
    (SERIES, {"match[]": "up", "end": "x"}),
    (LABELS, {"match[]": "up["}),
    (LABELS, {"match[]": "{}"}),
    (LABELS, {"start": "x"}),
    (VALUES, {"match[]": "{}"}),
    (VALUES, {"end": "x"}),
    (METADATA, {"limit": "x"}),
    (FORMAT, {}),
    (FORMAT, {"query": "up+"}),
    (EXEMPLARS, {}),
    (EXEMPLARS, {"query": "up +"}),
    (EXEMPLARS, {"query": "{}"}),
    (EXEMPLARS, {"query": "up", "start": "x"}),
    (EXEMPLARS, {"query": "up", "end": "x"}),
    (EXEMPLARS, {"query": "up", "start": "9", "end": "1"}),
]
"""Same status and errorType. The words are ours."""

OTHERWISE = [
    # Not known to 2.42, refused by Prometheus 3 as by us.
    (QUERY, {"query": "1", "limit": "x"}, (200, ""), (400, "bad_data")),
    (SERIES, {"match[]": "up", "limit": "-1"}, (200, ""), (400, "bad_data")),
    (METADATA, {"limit_per_metric": "x"}, (200, ""), (400, "bad_data")),
    (QUERY, {"query": "up", "lookback_delta": "x"}, (200, ""), (400, "bad_data")),
    # Any UTF-8 is a label name since Prometheus 3.
    ("/api/v1/label/a-b/values", {}, (400, "bad_data"), (200, "")),
    ("/api/v1/label/a.b/values", {}, (400, "bad_data"), (200, "")),
    # Go turns these into some number; we say that they are none.
    (QUERY, {"query": "1", "time": "NaN"}, (200, ""), (400, "bad_data")),
    (QUERY, {"query": "1", "time": "1_0"}, (200, ""), (400, "bad_data")),
    # A step that rounds to nothing ends in a division by zero there.
    (
        RANGE,
        {"query": "up", "start": "0", "end": "1", "step": "0.0001"},
        (422, "execution"),
        (400, "bad_data"),
    ),
    # Longer than an int64 of nanoseconds: there an error, here any step beyond the range is one point.
    (RANGE, {"query": "1", "start": "0", "end": "1", "step": "1e308"}, (400, "bad_data"), (200, "")),
]
"""(path, parameters, Prometheus 2.42, ours)."""

METHODS = [
    (path, method)
    for path in (
        QUERY,
        RANGE,
        EXEMPLARS,
        FORMAT,
        SERIES,
        LABELS,
        VALUES,
        METADATA,
        "/api/v1/status/buildinfo",
    )
    for method in ("POST", "PUT", "DELETE")
    # DELETE of series was Prometheus 1's; 2.42 still answers that it is not implemented.
    if (path, method) != (SERIES, "DELETE")
]


def ask(address, path, params=(), method="GET", headers=None, body=None):
    """Send one request; returns (status, headers, body)."""
    query = urllib.parse.urlencode(params, doseq=True)
    url = f"{address}{path}"
    if method == "POST" and body is None:
        body = query.encode()
    elif query:
        url += "?" + query
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def outcome(address, path, params):
    """(status, errorType) of a GET, and the reply."""
    status, headers, body = ask(address, path, params)
    assert headers["content-type"] == "application/json"
    reply = json.loads(body)
    assert reply["status"] == ("success" if status == 200 else "error")
    return (status, reply.get("errorType", "")), reply


@contextlib.contextmanager
def serving():
    """Our API over the suite's samples; yields its address."""
    store = MemoryStore()
    store.write(batch(with_natives=False))
    app = Starlette(routes=routes(LocalEngine(store)))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
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


@pytest.fixture(scope="module")
def ours():
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, real):
    binary, promtool = real("prometheus"), real("prometheus", "promtool")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "data.om").write_text(open_metrics())
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(folder / "data.om")]
    subprocess.run([*command, str(folder / "tsdb")], check=True, capture_output=True, timeout=60)
    with running_prometheus(binary, folder) as address:
        yield address


def settled(data):
    """The data with a vector's rows in the order of their labels: Prometheus leaves it open."""
    if isinstance(data, dict) and data.get("resultType") == "vector":
        rows = sorted(data["result"], key=lambda row: sorted(row["metric"].items()))
        return {**data, "result": rows}
    return data


@pytest.mark.parametrize(("path", "params"), SAME)
def test_the_same_data(ours, theirs, path, params):
    """Byte for byte the same values, times, labels and order."""
    found, own = outcome(ours, path, params)
    wanted, reply = outcome(theirs, path, params)
    assert found == wanted == (200, "")
    assert settled(own["data"]) == settled(reply["data"])


@pytest.mark.parametrize(("path", "params"), BAD)
def test_the_same_refusal(ours, theirs, path, params):
    """A bad request gets Prometheus' status and errorType, and a sentence."""
    found, own = outcome(ours, path, params)
    wanted, reply = outcome(theirs, path, params)
    assert found == wanted
    assert own.keys() == reply.keys()
    assert len(own["error"]) > 10


@pytest.mark.parametrize(("path", "params", "wanted", "own"), OTHERWISE)
def test_where_we_differ_from_2_42(ours, theirs, path, params, wanted, own):
    """Each difference is known, with its reason beside it."""
    assert outcome(theirs, path, params)[0] == wanted
    assert outcome(ours, path, params)[0] == own


@pytest.mark.parametrize(("path", "method"), METHODS)
def test_the_same_methods(ours, theirs, path, method):
    """What may be posted there may be posted here; anything else is 405, so Grafana asks by GET."""
    params = {"query": "1", "start": "0", "end": "1", "step": "1", "match[]": "up"}
    found, wanted = ask(ours, path, params, method), ask(theirs, path, params, method)
    assert found[0] == wanted[0]
    if found[0] == 405 and path != SERIES:
        assert set(found[1]["allow"].split(", ")) - {"HEAD"} == set(wanted[1]["allow"].split(", ")) - {
            "OPTIONS"
        }


def test_the_same_stats(ours, theirs):
    """`stats` adds timings and samples under Prometheus' names."""
    params = {"query": COUNTS, "time": AT, "stats": "all"}
    stats = [outcome(address, QUERY, params)[1]["data"]["stats"] for address in (ours, theirs)]
    assert stats[0]["timings"].keys() == stats[1]["timings"].keys()
    assert stats[0]["samples"].keys() == stats[1]["samples"].keys()
    assert stats[0]["samples"]["totalQueryableSamples"] >= stats[1]["samples"]["totalQueryableSamples"] == 3
    assert all(value >= 0 for value in stats[0]["timings"].values())


def test_a_query_that_reads_nothing_has_no_exemplars(ours, theirs):
    """204 without a body, as there."""
    for address in (ours, theirs):
        assert ask(address, EXEMPLARS, {"query": "1 + 1"})[::2] == (204, b"")


def test_another_lookback(ours):
    """`lookback_delta`, which 2.42 does not know, moves how old a sample may be for one query."""
    at = {"query": "suite_short", "time": str(BASE_MS // 1000 + 700)}
    found = [
        len(outcome(ours, QUERY, {**at, "lookback_delta": text})[1]["data"]["result"])
        for text in ("", "0", "3m", "116", "115", "30")
    ]
    assert found == [1, 1, 1, 1, 0, 0]


def test_a_form_wins_over_the_address(ours, theirs):
    """A parameter of the body comes before the same one of the address."""
    for address in (ours, theirs):
        status, _, body = ask(address, f"{QUERY}?query=2&time=4", method="POST", body=b"query=1")
        assert (status, json.loads(body)["data"]["result"]) == (200, [4, "1"])


def test_no_other_site_may_read_replies(ours):
    """Unlike Prometheus, we allow no other origin until one is configured."""
    _, headers, _ = ask(ours, QUERY, {"query": "1"}, headers={"Origin": "http://elsewhere.example"})
    assert not [name for name in headers if name.lower().startswith("access-control-")]
