"""The body: Alertmanager's webhook, version 4."""

import json

from ninesight_alerts import fingerprint
from ninesight_alerts.grouping import Message, ReceiverRoute
from ninesight_alerts.webhook import go_time, summary, webhook_body

from .builders import alert, over

ROUTE = ReceiverRoute("pager")


def test_the_body_has_exactly_the_shape_of_version_4():
    """Every field, its type and its words."""
    fires = alert(model="m", instance="1", fired=1_700_000_000_120, annotations=[("summary", "slow")])
    ended = over(
        alert(model="m", instance="2", fired=1_700_000_000_000, annotations=[("summary", "slow")]),
        1_700_000_060_000,
    )
    message = Message(ROUTE, (("alertname", "A"), ("model", "m")), (fires, ended))
    body = json.loads(webhook_body(message, {fires.labels: 'p99{a="b"} > 1'}, "https://nine.example"))
    assert body == {
        "receiver": "pager",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A", "instance": "1", "model": "m"},
                "annotations": {"summary": "slow"},
                "startsAt": "2023-11-14T22:13:20.12Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://nine.example/graph?g0.expr=p99%7Ba%3D%22b%22%7D+%3E+1&g0.tab=1",
                "fingerprint": fingerprint(fires.labels),
            },
            {
                "status": "resolved",
                "labels": {"alertname": "A", "instance": "2", "model": "m"},
                "annotations": {"summary": "slow"},
                "startsAt": "2023-11-14T22:13:20Z",
                "endsAt": "2023-11-14T22:14:20Z",
                "generatorURL": "https://nine.example/graph?g0.expr=&g0.tab=1",
                "fingerprint": fingerprint(ended.labels),
            },
        ],
        "groupLabels": {"alertname": "A", "model": "m"},
        "commonLabels": {"alertname": "A", "model": "m"},
        "commonAnnotations": {"summary": "slow"},
        "externalURL": "https://nine.example",
        "version": "4",
        "groupKey": '{}:{alertname="A", model="m"}',
        "truncatedAlerts": 0,
    }
    assert summary(message) == "A"


def test_more_than_max_alerts_are_counted():
    """A message carries what the receiver bears; the rest is a number."""
    message = Message(
        ReceiverRoute("pager", max_alerts=2), (), tuple(alert(instance=str(at)) for at in range(5))
    )
    body = json.loads(webhook_body(message, {}, ""))
    assert (len(body["alerts"]), body["truncatedAlerts"], body["status"]) == (2, 3, "firing")


def test_any_text_makes_a_valid_body():
    """Lone surrogates and control characters do not stop a message."""
    message = Message(ROUTE, (), (alert(model="\ud800\x00é", annotations=[("s", "\ud83d")]),))
    assert json.loads(webhook_body(message, {}, ""))["alerts"][0]["labels"]["model"] == "?\x00é"


def test_times_are_written_as_go_writes_them():
    """No time is Go's zero time, milliseconds lose their trailing zeros."""
    assert [go_time(at) for at in (None, 0, 1_500, 1_001)] == [
        "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01.5Z", "1970-01-01T00:00:01.001Z",
    ]  # fmt: skip
