"""Prometheus' routes for rules and alerts."""

import pytest
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
    assert group == {"name": "g", "file": "", "interval": 15.0, "lastEvaluation": "1970-01-01T00:00:01Z"}
    assert first.pop("evaluationTime") > 0
    alert = {
        "labels": {"alertname": "A", "model": "m", "severity": "page"},
        "annotations": {"s": "at 1.5"},
        "state": "pending",
        "activeAt": "1970-01-01T00:00:01Z",
        "value": "1.5",
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
    assert wrong.json()["error"] == "type must be alert or record, got 'x'"


def test_nothing_loaded_is_an_empty_answer():
    """The routes need only the reader's contract."""
    with TestClient(Starlette(routes=routes(FixedAlerts()))) as client:
        assert client.get("/api/v1/rules").json() == {"status": "success", "data": {"groups": []}}
        assert client.get("/api/v1/alerts").json() == {"status": "success", "data": {"alerts": []}}
