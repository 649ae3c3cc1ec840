"""Prometheus' routes for rules and alerts."""

import pytest
from ninesight_alerts.contract import AlertState, AlertView, RuleView
from ninesight_alerts.http import routes
from ninesight_alerts.testing import FixedAlerts, element
from starlette.applications import Starlette
from starlette.testclient import TestClient

from .world import World

RULES = """
groups:
- name: g
  interval: 15s
  rules:
  - {alert: A, expr: slow, for: 30s, labels: {severity: page}, annotations: {s: "at {{ $value }}"}}
  - {alert: A, expr: other, labels: {severity: info}}
  - {record: "a:b", expr: wrong}
"""


@pytest.fixture
def client(tmp_path):
    with World(tmp_path, RULES) as world:
        world.start().engine.answers = {"slow": {element(model="m"): 1.5}, "wrong": ValueError("away")}
        world.evaluate(1_000)
        with TestClient(Starlette(routes=routes(world.reader()))) as client:
            yield client


def test_rules_have_prometheus_shape(client):
    """Groups, rules with their health, and each rule's own alerts."""
    document = client.get("/api/v1/rules").json()
    (group,) = document["data"]["groups"]
    first, second, record = group.pop("rules")
    assert document["status"] == "success"
    assert group.pop("evaluationTime") > 0
    assert group == {
        "name": "g",
        "file": "",
        "interval": 15.0,
        "limit": 0,
        "lastEvaluation": "1970-01-01T00:00:01Z",
    }
    assert first.pop("evaluationTime") > 0
    alert = {
        "labels": {"alertname": "A", "model": "m", "severity": "page"},
        "annotations": {"s": "at 1.5"},
        "state": "pending",
        "activeAt": "1970-01-01T00:00:01Z",
        "value": "1.5e+00",
    }
    assert first == {
        "name": "A",
        "query": "slow",
        "labels": {"severity": "page"},
        "health": "ok",
        "lastEvaluation": "1970-01-01T00:00:01Z",
        "type": "alerting",
        "state": "pending",
        "duration": 30.0,
        "keepFiringFor": 0.0,
        "annotations": {"s": "at {{ $value }}"},
        "alerts": [alert],
    }
    assert (second["state"], second["alerts"]) == ("inactive", [])
    assert (record["type"], record["health"], record["lastError"]) == ("recording", "err", "ValueError: away")
    assert client.get("/api/v1/alerts").json() == {"status": "success", "data": {"alerts": [alert]}}


def test_rules_can_be_asked_by_type(client):
    """alert and record, anything else is bad data."""
    kinds = {
        kind: [
            rule["type"]
            for group in client.get(f"/api/v1/rules?type={kind}").json()["data"]["groups"]
            for rule in group["rules"]
        ]
        for kind in ("alert", "record")
    }
    assert kinds == {"alert": ["alerting", "alerting"], "record": ["recording"]}
    wrong = client.get("/api/v1/rules?type=x")
    assert (wrong.status_code, wrong.json()["errorType"]) == (400, "bad_data")
    assert wrong.json()["error"] == "invalid parameter \"type\": it must be alert or record, got 'x'"
    assert client.get("/api/v1/rules?type=ALERT").status_code == 200


def names(client, params):
    """The rules of an answer as group/rule."""
    groups = client.get("/api/v1/rules", params=params).json()["data"]["groups"]
    return [f"{group['name']}/{rule['name']}" for group in groups for rule in group["rules"]]


@pytest.fixture
def many():
    """Three groups of two files."""
    rules = [
        RuleView(group, name, kind, "up", 0, {}, {}, "ok", "", 1000, 0.5, file, 15_000)
        for file, group, name, kind in (
            ("a.yml", "g1", "A", "alerting"),
            ("a.yml", "g1", "r", "recording"),
            ("a.yml", "g2", "A", "alerting"),
            ("b.yml", "g1", "B", "alerting"),
        )
    ]
    alert = AlertView("A", "g1", AlertState.FIRING, (("alertname", "A"),), {}, 0.0, 1000, 1000, None, "f")
    reader = FixedAlerts(active_alerts=[alert], loaded=rules)
    with TestClient(Starlette(routes=routes(reader, lambda: {("a.yml", "g2"): 7}))) as client:
        yield client


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"rule_name[]": "A"}, ["g1/A", "g2/A"]),
        ({"rule_name[]": ["A", "B"], "type": "alert"}, ["g1/A", "g2/A", "g1/B"]),
        ({"rule_group[]": "g1"}, ["g1/A", "g1/r", "g1/B"]),
        ({"file[]": "b.yml"}, ["g1/B"]),
        ({"rule_group[]": "g1", "file[]": "a.yml", "rule_name[]": "r"}, ["g1/r"]),
        ({"rule_name[]": "none"}, []),
    ],
)
def test_rules_can_be_asked_by_name_group_and_file(many, params, wanted):
    """Several values of one parameter are alternatives, several parameters all hold."""
    assert names(many, params) == wanted


LABELLED = {
    "both": {"severity": "page", "team": "a"},
    "page": {"severity": "page"},
    "info": {"severity": "info", "team": "b"},
    "filled": {"severity": "{{ $labels.severity }}"},
    "none": {},
}


@pytest.mark.parametrize(
    ("selectors", "wanted"),
    [
        (['{severity="page"}'], ["both", "page"]),
        (['{severity="page",team=""}'], ["page"]),
        (['{severity=~"pag.",team!="a"}'], ["page"]),
        (['{team=~".+"}'], ["both", "info"]),
        (['{severity="page",team="a"}', '{severity="info"}'], ["both", "info"]),
        (['{severity=~".*labels.*"}'], ["filled"]),
        (["both"], []),
        (['{alertname="both"}'], []),
    ],
)
def test_rules_can_be_asked_by_their_labels(selectors, wanted):
    """`match[]` as Prometheus documents it: the labels of the definition, templates unfilled, any set of several."""
    rules = [
        RuleView("g", name, "alerting", "up", 0, labels, {}, "ok", "", 1000, 0.5, "a.yml", 15_000)
        for name, labels in LABELLED.items()
    ]
    with TestClient(Starlette(routes=routes(FixedAlerts(loaded=rules)))) as client:
        assert names(client, {"match[]": selectors}) == [f"g/{name}" for name in wanted]
        assert names(client, {"match[]": selectors, "type": "record"}) == []
        assert names(client, {"match[]": selectors, "rule_name[]": "page"}) == [
            f"g/{name}" for name in wanted if name == "page"
        ]


@pytest.mark.parametrize(
    ("selectors", "says"),
    [
        (["{"], 'invalid parameter "match[]": '),
        (["up[5m]"], 'invalid parameter "match[]": a plain series selector is needed'),
        (['{severity=""}'], 'invalid parameter "match[]": '),
        (['{severity=~"["}'], 'invalid parameter "match[]": '),
        ([""], 'invalid parameter "match[]": '),
        (["up"] * 201, "at most 200 selectors, got 201"),
    ],
)
def test_selectors_of_rules_are_checked(many, selectors, says):
    """What is no selector, or one that every label set fulfils, is bad data, as in Prometheus."""
    reply = many.get("/api/v1/rules", params={"match[]": selectors})
    assert (reply.status_code, reply.json()["errorType"]) == (400, "bad_data")
    assert says in reply.json()["error"]


def test_a_rules_query_is_printed_as_prometheus_does():
    """On one line with its spaces; a query in another server's dialect stays as it is."""
    rules = [
        RuleView("g", "r", "recording", expr, 0, {}, {}, "ok", "", 1000, 0.5, "", 15_000)
        for expr in ("sum(\n  rate(x[5m])\n)by(job)>1", "rate(x) default 1")
    ]
    with TestClient(Starlette(routes=routes(FixedAlerts(loaded=rules)))) as client:
        (group,) = client.get("/api/v1/rules").json()["data"]["groups"]
    assert [rule["query"] for rule in group["rules"]] == [
        "sum by (job) (rate(x[5m])) > 1",
        "rate(x) default 1",
    ]


def test_alerts_can_be_left_out(many):
    """`exclude_alerts` leaves out the list, as in Prometheus."""
    rule = many.get("/api/v1/rules").json()["data"]["groups"][0]["rules"][0]
    assert [alert["value"] for alert in rule["alerts"]] == ["0e+00"]
    rule = many.get("/api/v1/rules?exclude_alerts=true").json()["data"]["groups"][0]["rules"][0]
    assert "alerts" not in rule


def test_groups_come_page_by_page(many):
    """Each page names the next one until there is none; a group's limit is told."""
    found, token = [], None
    while token != "":
        params = {"group_limit": "2"} | ({"group_next_token": token} if token else {})
        data = many.get("/api/v1/rules", params=params).json()["data"]
        found.append([(group["file"], group["name"], group["limit"]) for group in data["groups"]])
        token = data.get("groupNextToken", "")
    assert found == [[("a.yml", "g1", 0), ("a.yml", "g2", 7)], [("b.yml", "g1", 0)]]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"exclude_alerts": "x"}, "true or false, got 'x'"),
        ({"group_limit": "0"}, "above 0, got '0'"),
        ({"group_limit": "x"}, "above 0, got 'x'"),
        ({"group_next_token": "x"}, "must be given to page"),
        ({"group_next_token": "x", "group_limit": "1"}, "the rule groups changed"),
    ],
)
def test_bad_parameters_of_rules(many, params, words):
    """400 bad_data with what must hold."""
    wrong = many.get("/api/v1/rules", params=params)
    assert (wrong.status_code, wrong.json()["errorType"]) == (400, "bad_data")
    assert words in wrong.json()["error"]


def test_nothing_loaded_is_an_empty_answer():
    """The routes need only the reader's contract."""
    with TestClient(Starlette(routes=routes(FixedAlerts()))) as client:
        assert client.get("/api/v1/rules").json() == {"status": "success", "data": {"groups": []}}
        assert client.get("/api/v1/alerts").json() == {"status": "success", "data": {"alerts": []}}
