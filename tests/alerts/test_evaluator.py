"""The evaluator with time as an argument: states, outbox and record, and what a failure does."""

import math
import sqlite3
import struct

import pytest
from ninesight_alerts import AlertState
from ninesight_alerts.grouping import ReceiverRoute, Routing
from ninesight_alerts.testing import element
from ninesight_query.errors import UnavailableError

from .world import World

SLOW = {element(model="m"): 250.0}
STALE = struct.pack("<Q", 0x7FF0000000000002)


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made.start()


def test_an_alert_becomes_pending_fires_and_resolves(world):
    """Each state is in the database after its evaluation; firing and the end are in the outbox."""
    world.engine.answers["slow"] = SLOW
    reader = world.reader()
    world.evaluate(0)
    (pending,) = reader.active()
    assert (pending.state, pending.value, world.waiting()) == (AlertState.PENDING, 250.0, [])
    world.evaluate(15_000)
    world.evaluate(30_000)
    (firing,) = reader.active()
    assert (firing.state, firing.active_since_ms, firing.fired_ms) == (AlertState.FIRING, 0, 30_000)
    assert dict(firing.labels) == {"alertname": "TooSlow", "model": "m", "severity": "page"}
    assert firing.annotations == {"summary": "m at 250"}
    assert (world.waiting(), world.woken) == ([("msg_1", "firing")], 1)
    world.engine.answers["slow"] = {}
    world.evaluate(45_000)
    assert reader.active() == []
    (past,) = reader.history()
    assert (past.state, past.fired_ms, past.resolved_ms) == (AlertState.RESOLVED, 30_000, 45_000)
    assert world.waiting() == [("msg_1", "firing"), ("msg_2", "resolved")]


def test_rules_show_their_health(world):
    """Unknown before the first evaluation, ok or err with the reason after."""
    reader = world.reader()
    assert [(rule.name, rule.health) for rule in reader.rules()] == [("TooSlow", "unknown")]
    world.evaluate(0)
    (rule,) = reader.rules()
    assert (rule.health, rule.last_evaluation_ms, rule.for_ms, rule.interval_ms) == ("ok", 0, 30_000, 15_000)
    world.engine.answers["slow"] = UnavailableError("the engine is away")
    world.evaluate(15_000)
    (rule,) = reader.rules()
    assert (rule.health, rule.last_error) == ("err", "the engine is away")
    assert world.evaluator.stats.evaluation_errors == 1


def test_an_engine_that_is_away_changes_no_alert(world):
    """A firing alert keeps firing over errors, a pending one keeps its time."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    for wrong in (UnavailableError("away"), RuntimeError("a defect")):
        world.engine.answers["slow"] = wrong
        world.evaluate(15_000)
    world.engine.answers["slow"] = SLOW
    world.evaluate(30_000)
    (firing,) = world.reader().active()
    assert (firing.state, firing.active_since_ms) == (AlertState.FIRING, 0)


def test_nan_survives_the_database(world):
    """A NaN is a value, and a row like any other."""
    world.engine.answers["slow"] = {element(model="m"): math.nan}
    world.evaluate(0)
    assert math.isnan(world.reader().active()[0].value)
    world.restart(1_000)
    assert math.isnan(world.evaluator.alerts()[0].value)


def test_twins_make_the_rule_unhealthy(tmp_path):
    """Two elements whose labels become equal are an error; nothing is lost or doubled."""
    rules = "groups: [{name: g, rules: [{alert: A, expr: slow, labels: {model: all}}]}]"
    with World(tmp_path, rules) as world:
        world.start().engine.answers["slow"] = {element(model="a"): 1.0, element(model="b"): 2.0}
        world.evaluate(0)
        assert "must differ in labels" in world.reader().rules()[0].last_error
        assert world.waiting() == []


def test_a_recording_rule_writes_at_once_and_marks_what_ends(tmp_path):
    """The group's next rule may ask for it; a series that is gone gets a stale marker."""
    rules = (
        "groups: [{name: g, rules: [{record: 'a:b', expr: x, labels: {team: ml}}, {alert: A, expr: slow}]}]"
    )
    with World(tmp_path, rules) as world:
        world.start()
        written = []
        world.engine.answers = {
            "x": {element(model="m"): 7.0},
            "slow": lambda _at: written.append(len(world.record.samples)) or {},
        }
        world.evaluate(1000)
        (sample,) = world.record.samples
        assert (sample.labels, sample.timestamp_ms, sample.value) == (
            (("__name__", "a:b"), ("model", "m"), ("team", "ml")), 1000, 7.0,
        )  # fmt: skip
        assert written == [1]
        world.engine.answers["x"] = {}
        world.evaluate(2000)
        marker = world.record.samples[-1]
        assert (marker.labels, struct.pack("<d", marker.value)) == (sample.labels, STALE)
        world.evaluate(3000)
        assert len(world.record.samples) == 2


def test_alerts_series_follow_the_state(world):
    """ALERTS and ALERTS_FOR_STATE are recorded; a change of state ends the old series."""
    world.engine.answers["slow"] = SLOW
    for at in (0, 30_000):
        world.evaluate(at)
    names = [
        (dict(sample.labels)["__name__"], dict(sample.labels).get("alertstate"), sample.timestamp_ms)
        for sample in world.record.samples
    ]
    assert names == [
        ("ALERTS", "pending", 0),
        ("ALERTS_FOR_STATE", None, 0),
        ("ALERTS", "firing", 30_000),
        ("ALERTS_FOR_STATE", None, 30_000),
        ("ALERTS", "pending", 30_000),
    ]
    assert struct.pack("<d", world.record.samples[-1].value) == STALE


def test_a_record_that_fails_is_counted_and_stops_no_alert(tmp_path):
    """The recording rule is unhealthy; alerts go on."""
    rules = "groups: [{name: g, rules: [{record: 'a:b', expr: x}, {alert: A, expr: slow}]}]"
    with World(tmp_path, rules) as world:
        world.record._failures = [OSError("disk full"), OSError("disk full")]
        world.start().engine.answers = {"x": {element(): 1.0}, "slow": SLOW}
        world.evaluate(0)
        assert world.reader().rules()[0].last_error == "recording a:b: disk full"
        assert world.evaluator.stats.record_errors == 2
        assert world.waiting() == [("msg_1", "firing")]


def test_without_a_commit_nothing_has_happened(tmp_path):
    """A database that cannot be written leaves the states as they were; later the same alert fires."""
    rules = "groups: [{name: g, rules: [{alert: A, expr: slow}]}]"
    with World(tmp_path, rules) as world:
        world.start().engine.answers["slow"] = SLOW
        with sqlite3.connect(tmp_path / "alerts.db", isolation_level=None) as raw:
            raw.execute("ALTER TABLE alerts_outbox RENAME TO elsewhere")
            world.evaluate(0)
            assert (world.evaluator.stats.commit_errors, world.evaluator.alerts(), world.woken) == (1, (), 0)
            assert (world.reader().active(), world.record.samples) == ([], [])
            raw.execute("ALTER TABLE elsewhere RENAME TO alerts_outbox")
        raw.close()
        world.evaluate(15_000)
        assert world.waiting() == [("msg_2", "firing")]


def test_a_group_that_waits_is_told_by_the_tick(tmp_path):
    """group_wait and repeat_interval need no change of an alert."""
    routing = Routing((ReceiverRoute("hook"),), group_wait_ms=5_000, repeat_interval_ms=60_000)
    rules = "groups: [{name: g, rules: [{alert: A, expr: slow}]}]"
    with World(tmp_path, rules, routing) as world:
        world.start().engine.answers["slow"] = SLOW
        world.evaluate(0)
        assert (world.waiting(), world.evaluator.due_ms) == ([], 5_000)
        world.evaluator.tick(4_999)
        assert world.waiting() == []
        world.evaluator.tick(5_000)
        assert (len(world.waiting()), world.evaluator.due_ms) == (1, 65_000)
        world.evaluator.tick(65_000)
        assert len(world.waiting()) == 2


def test_what_is_old_is_dropped(world):
    """Resolved alerts leave the history at its age; what still fires stays."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.evaluate(30_000)
    world.evaluator.prune(10**12)
    assert len(world.reader().history()) == 1
    world.engine.answers["slow"] = {}
    world.evaluate(45_000)
    world.evaluator.prune(45_001)
    assert world.reader().history() == []
