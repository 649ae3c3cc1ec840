"""The sender: backoff, dead letters, and that nothing is dropped."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts import PermanentError, RetryableError
from ninesight_alerts.contract import Notification
from ninesight_alerts.ledger import Commit, OutboxEntry
from ninesight_alerts.sender import Sender, SenderSettings
from ninesight_alerts.testing import RecordingChannel, wait_until

from .world import World


class Clock:
    def __init__(self):
        self.ms = 0

    def __call__(self):
        return self.ms


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made.start()


def put(world, *names):
    entries = [OutboxEntry(Notification(name, "hook", name[0], "firing", b"{}", 0), "A") for name in names]
    world.ledger.commit(Commit(entries=entries))


def sender_of(world, channel, clock, **changes):
    return Sender(
        "hook", channel, world.outbox, settings=SenderSettings(**changes), now_ms=clock, rng=random.Random(1)
    )


def test_it_delivers_in_order(world):
    """All that is due goes out; then there is nothing to do."""
    put(world, "a1", "a2", "b1")
    channel = RecordingChannel()
    sender = sender_of(world, channel, Clock())
    while sender.send_next():
        pass
    assert [item.id for item in channel.sent] == ["a1", "a2", "b1"]
    assert sender.stats.delivered == 3


def test_waits_double_with_jitter_up_to_the_maximum(world):
    """Each wait is between half and all of 1, 2, 4, 8, 8 seconds."""
    put(world, "a1")
    clock = Clock()
    sender = sender_of(world, RecordingChannel([RetryableError("later")] * 5), clock, backoff_s_max=8.0)
    waits = []
    while sender.send_next():
        due = world.outbox.next_ms("hook")
        if due is not None:
            waits.append(due - clock.ms)
            clock.ms = due
    assert len(waits) == 5
    assert all(
        full / 2 <= wait <= full for wait, full in zip(waits, [1000, 2000, 4000, 8000, 8000], strict=True)
    )
    assert len(set(waits)) == 5


def test_what_a_receiver_asks_for_is_kept(world):
    """Retry-After makes the wait longer."""
    put(world, "a1")
    sender = sender_of(world, RecordingChannel([RetryableError("busy", retry_after_s=60)]), Clock())
    sender.send_next()
    assert world.outbox.next_ms("hook") == 60_000


def test_it_gives_up_after_attempts_max(world):
    """The last attempt's words say so, and the dead letter is counted and visible."""
    put(world, "a1")
    clock = Clock()
    sender = sender_of(world, RecordingChannel([RetryableError("HTTP 500")] * 9), clock, attempts_max=3)
    while sender.send_next():
        clock.ms += 1_000_000
    newest = world.reader().deliveries()[0]
    assert (newest.outcome, newest.attempt, newest.detail) == (
        "dead",
        3,
        "HTTP 500; gave up after 3 attempts",
    )
    assert (sender.stats.retried, sender.stats.dead) == (2, 1)


def test_a_permanent_error_is_dead_at_once(world):
    """It is never tried again."""
    put(world, "a1")
    channel = RecordingChannel([PermanentError("HTTP 400")])
    sender = sender_of(world, channel, Clock())
    assert [sender.send_next(), sender.send_next(), channel.calls] == [True, False, 1]


def test_a_defect_in_a_channel_is_an_attempt_that_failed(world):
    """Whatever a channel raises, the notification stays."""
    put(world, "a1")
    sender = sender_of(world, RecordingChannel([KeyError("x")]), Clock())
    sender.send_next()
    assert world.reader().deliveries()[0].detail == "KeyError: 'x'"
    assert world.outbox.counts()["waiting"] == 1


def test_the_thread_wakes_and_stops(world):
    """A wake is answered at once; stop ends the thread, twice is harmless."""
    channel = RecordingChannel()
    sender = Sender("hook", channel, world.outbox)
    sender.start()
    put(world, "a1")
    sender.wake()
    wait_until(lambda: channel.sent)
    sender.stop()
    sender.stop()


FAILURES = st.sampled_from([None, RetryableError("x"), PermanentError("y"), KeyError("z")])


@settings(max_examples=15, deadline=None)
@given(st.lists(FAILURES, max_size=12), st.integers(1, 6))
def test_accepted_is_delivered_plus_dead_plus_waiting(tmp_path_factory, failures, count):
    """Over any row of failures nothing is dropped, and order holds in the group."""
    with World(tmp_path_factory.mktemp("w")) as world:
        put(world.start(), *[f"a{at}" for at in range(count)])
        sent, row = [], iter(failures)

        class Flaky(RecordingChannel):
            def send(self, notification):
                failure = next(row, None)
                if failure is not None:
                    raise failure
                sent.append(notification.id)
                return super().send(notification)

        clock = Clock()
        sender = sender_of(world, Flaky(), clock, attempts_max=4)
        for _ in range(30):
            clock.ms += 1_000_000
            sender.send_next()
        counts = world.outbox.counts()
        assert counts["waiting"] == 0
        assert counts["delivered"] + counts["dead"] == count
        assert sent == sorted(sent)
        assert len(sent) == counts["delivered"] == sender.stats.delivered
