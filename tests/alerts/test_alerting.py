"""Everything together in one process: the real engine, real threads, a real receiver, a real database."""

import logging
import threading
import time

import pytest
from ninesight_alerts import (
    Alerting,
    AlertsConfig,
    AlertState,
    RuleError,
    TargetError,
    new_secret,
    rules_from_text,
)
from ninesight_alerts.signing import secret_key, signature
from ninesight_alerts.testing import LocalReceiver, RecordingRecord, ScriptedEngine, element, wait_until
from ninesight_query import LocalEngine
from ninesight_query.contract import labels_of
from ninesight_store.testing import MemoryStore, batch_of

RULES = """
groups:
- name: g
  interval: 200ms
  rules:
  - alert: TooSlow
    expr: latency_seconds > 0.5
    annotations: {summary: "{{ $labels.model }} at {{ $value | humanizeDuration }}"}
"""


@pytest.fixture
def running():
    """Start what is given; all of it is stopped at the end."""
    open_parts = []

    def start(alerting):
        open_parts.append(alerting)
        alerting.start()
        return alerting

    yield start
    for part in reversed(open_parts):
        part.stop()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("alerts-")]
    assert names == [], "stop leaves no thread behind"


def config_of(receiver, **changes):
    item = {"name": "hook", "url": receiver.url, "allow_private": True, "timeout": "30s", **changes}
    return AlertsConfig(receivers=[item], backoff_min="20ms", external_url="https://nine.example")


def url_of(folder):
    return f"sqlite:///{folder}/ninesight.db"


def test_a_breach_reaches_the_webhook_and_so_does_its_end(tmp_path, running, caplog):
    """From samples in a store, through PromQL, to a signed message; then the end. The time is in the log."""
    caplog.set_level(logging.INFO)
    store, secret = MemoryStore(), new_secret()

    def observe(seconds):
        store.write(
            batch_of({labels_of("latency_seconds", {"model": "m"}): [(time.time_ns() // 1_000_000, seconds)]})
        )

    with LocalReceiver() as receiver:
        observe(0.1)
        config = config_of(receiver, secret=secret)
        running(Alerting(config, LocalEngine(store), url_of(tmp_path), groups=rules_from_text(RULES)))
        breached = time.monotonic()
        observe(0.9)
        (first,) = receiver.wait_for(1)
        logging.getLogger(__name__).info(
            "breach to webhook: %.3f s at an interval of 0.2 s", first.at - breached
        )
        body = first.document
        assert (body["status"], body["receiver"], body["version"]) == ("firing", "hook", "4")
        assert body["alerts"][0]["annotations"] == {"summary": "m at 900ms"}
        timestamp_s = int(first.headers["webhook-timestamp"])
        assert first.headers["webhook-signature"] == signature(
            secret_key(secret), first.id, timestamp_s, first.body
        )
        observe(0.1)
        _, second = receiver.wait_for(2)
        assert (second.document["status"], second.id != first.id) == ("resolved", True)


def test_a_receiver_that_fails_gets_the_same_message_again(tmp_path, running):
    """Three refusals, then delivered: one id, one body, four attempts in the ledger."""
    engine = ScriptedEngine({"latency_seconds > 0.5": {element(model="m"): 1.0}})
    with LocalReceiver((500, 503, 429, 200)) as receiver:
        alerting = running(
            Alerting(config_of(receiver), engine, url_of(tmp_path), groups=rules_from_text(RULES))
        )
        got = receiver.wait_for(4)
        assert len({(item.id, item.body) for item in got}) == 1
        reader = alerting.reader()
        wait_until(lambda: len(reader.deliveries()) == 4)
        assert [view.outcome for view in reader.deliveries()] == ["delivered", "retry", "retry", "retry"]
        assert alerting.stats()["deliveries_retried"] == 3
        reader.close()


def test_a_receiver_that_hangs_holds_up_nobody_else(tmp_path, running):
    """The second receiver is told while the first still drips."""
    engine = ScriptedEngine({"latency_seconds > 0.5": {element(model="m"): 1.0}})
    with LocalReceiver(("hang",)) as slow, LocalReceiver() as quick:
        both = [
            {"name": name, "url": receiver.url, "allow_private": True, "timeout": "30s"}
            for name, receiver in (("slow", slow), ("quick", quick))
        ]
        config = AlertsConfig(receivers=both)
        alerting = running(Alerting(config, engine, url_of(tmp_path), groups=rules_from_text(RULES)))
        reader = alerting.reader()
        wait_until(lambda: slow.received and ("quick", "delivered") in outcomes(reader))
        assert ("slow", "waiting") in outcomes(reader)
        reader.close()


def outcomes(reader):
    return [(view.receiver, view.outcome) for view in reader.deliveries()]


def test_a_refusal_is_a_dead_letter(tmp_path, running):
    """400 is final and visible."""
    engine = ScriptedEngine({"latency_seconds > 0.5": {element(model="m"): 1.0}})
    with LocalReceiver((400,)) as receiver:
        alerting = running(
            Alerting(config_of(receiver), engine, url_of(tmp_path), groups=rules_from_text(RULES))
        )
        reader = alerting.reader()
        wait_until(lambda: [view.outcome for view in reader.deliveries()] == ["dead"])
        assert reader.deliveries()[0].detail == "HTTP 400"
        reader.close()


def test_a_restart_goes_on_where_it_was(tmp_path, running):
    """Stopped while firing, started again: nothing is told twice, the end is told."""
    answers = {"latency_seconds > 0.5": {element(model="m"): 1.0}}
    with LocalReceiver() as receiver:
        first = running(
            Alerting(
                config_of(receiver), ScriptedEngine(answers), url_of(tmp_path), groups=rules_from_text(RULES)
            )
        )
        receiver.wait_for(1)
        first.stop()
        engine = ScriptedEngine(answers)
        second = running(
            Alerting(config_of(receiver), engine, url_of(tmp_path), groups=rules_from_text(RULES))
        )
        wait_until(lambda: len(engine.asked) >= 3)
        assert len(receiver.received) == 1
        engine.answers.clear()
        receiver.wait_for(2)
        assert receiver.received[1].document["status"] == "resolved"
        reader = second.reader()
        assert reader.history()[0].state is AlertState.RESOLVED
        reader.close()


def test_slow_evaluations_skip_beats(tmp_path, running):
    """Beats that pass while the engine is busy are counted."""

    def slow(_at):
        time.sleep(0.5)
        return {}

    engine = ScriptedEngine({"latency_seconds > 0.5": slow})
    alerting = running(Alerting(AlertsConfig(), engine, url_of(tmp_path), groups=rules_from_text(RULES)))
    wait_until(lambda: alerting.stats()["iterations_missed"] >= 2)


def test_recorded_samples_feed_the_next_rule(tmp_path, running):
    """A recording rule writes through `record`; with a store behind it the engine finds it again."""
    store = MemoryStore()
    recorder = RecordingRecord()

    def record(samples):
        recorder(samples)
        for sample in samples:
            store.write(batch_of({sample.labels: [(sample.timestamp_ms, sample.value)]}))

    rules = """
groups:
- name: g
  interval: 100ms
  rules:
  - {record: 'model:up:sum', expr: vector(3)}
  - {alert: A, expr: 'model:up:sum == 3'}
  - {alert: B, expr: 'ALERTS{alertname="A"} == 1', labels: {from: a}}
"""
    alerting = running(
        Alerting(
            AlertsConfig(), LocalEngine(store), url_of(tmp_path), groups=rules_from_text(rules), record=record
        )
    )
    reader = alerting.reader()
    wait_until(lambda: {view.rule for view in reader.active()} == {"A", "B"})
    reader.close()


def test_start_needs_good_rules_and_targets(tmp_path):
    """What cannot be used is refused before anything runs."""
    bad = tmp_path / "bad.yml"
    bad.write_text("groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]")
    with pytest.raises(RuleError, match="expr must be PromQL"):
        Alerting(AlertsConfig(rule_files=[str(bad)]), ScriptedEngine(), url_of(tmp_path))
    config = AlertsConfig(receivers=[{"name": "h", "url": "http://inside.example/"}])
    with pytest.raises(TargetError, match=r"inside\.example is the private address 10\.0\.0\.1"):
        Alerting(config, ScriptedEngine(), url_of(tmp_path), resolver=lambda *_: ["10.0.0.1"])
    assert not (tmp_path / "ninesight.db").exists()


def test_stop_is_safe_at_any_time(tmp_path):
    """Before start, and twice."""
    alerting = Alerting(AlertsConfig(), ScriptedEngine(), url_of(tmp_path))
    alerting.stop()
    alerting.start()
    alerting.stop()
    alerting.stop()
