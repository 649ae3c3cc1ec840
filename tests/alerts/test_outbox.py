"""The outbox: order per group, leases, the ledger."""

import os
import subprocess
import sys
import threading

import pytest
from ninesight_alerts.contract import Notification
from ninesight_alerts.ledger import Commit, OutboxEntry
from ninesight_alerts.outbox import Attempt, Outbox, Owner

from .world import World


@pytest.fixture
def world(url):
    with World(None, url=url) as made:
        yield made.start()


def put(world, *names, receiver="hook"):
    """Commit notifications called group+number, such as a1."""
    entries = [
        OutboxEntry(Notification(name, receiver, name[0], "firing", name.encode(), 0), "A") for name in names
    ]
    world.ledger.commit(Commit(entries=entries))


def claim(world, now_ms=0, receiver="hook", outbox=None):
    found = (outbox or world.outbox).claim(receiver, now_ms, 1_000)
    return found and found.notification.id


def finish(world, name, outcome, now_ms=0, next_ms=0):
    found = world.outbox.claim("hook", now_ms, 1_000)
    assert found.notification.id == name
    world.outbox.finish(found, Attempt(outcome, "words", now_ms, 5, next_ms))


def test_order_is_kept_in_a_group(world):
    """The second of a group waits for the first; another group does not."""
    put(world, "a1", "a2", "b1")
    assert [claim(world), claim(world), claim(world)] == ["a1", "b1", None]


def test_backoff_holds_the_group_and_only_it(world):
    """While the first waits for its next attempt, the second stays behind it."""
    put(world, "a1", "a2", "b1")
    finish(world, "a1", "retry", next_ms=500)
    finish(world, "b1", "delivered")
    assert (claim(world, 499), world.outbox.next_ms("hook")) == (None, 0)
    finish(world, "a1", "delivered", now_ms=500)
    assert claim(world, 500) == "a2"


def test_a_dead_letter_frees_the_group(world):
    """What can never be delivered does not hold up what follows."""
    put(world, "a1", "a2")
    finish(world, "a1", "dead")
    assert claim(world) == "a2"
    assert world.outbox.counts() == {"waiting": 1, "delivered": 0, "dead": 1}


def test_receivers_do_not_see_each_other(world):
    """Each claims its own."""
    put(world, "a1", receiver="one")
    assert (claim(world, receiver="two"), claim(world, receiver="one")) == (None, "a1")


def test_a_lease_ends(world):
    """A claim that was never finished is free again when its lease is over."""
    put(world, "a1")
    other = Outbox(world.database(), owner=Owner("elsewhere", 1, "t"))
    assert claim(world, 0, outbox=other) == "a1"
    assert (claim(world, 999), claim(world, 1_000)) == (None, "a1")


def test_the_lease_of_a_dead_process_is_free_at_once(world):
    """A process number of this host that nobody has frees what it held; a living one does not."""
    here = Owner.here()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    put(world, "a1", "b1")
    living = Outbox(world.database(), owner=Owner(here.host, os.getppid(), "t"))
    dead = Outbox(world.database(), owner=Owner(here.host, gone.pid, "t"))
    assert [claim(world, outbox=living), claim(world, outbox=dead)] == ["a1", "b1"]
    assert [claim(world), claim(world)] == ["b1", None]


def test_two_processes_never_hold_the_same(world):
    """Many claimers at once: each notification is claimed by exactly one."""
    names = [f"{chr(97 + at)}1" for at in range(20)]
    put(world, *names)
    got, gate = [], threading.Barrier(4)

    def work():
        outbox = Outbox(world.database(), owner=Owner.here())
        gate.wait()
        while found := claim(world, outbox=outbox):
            got.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == names


def test_an_interrupted_attempt_is_in_the_ledger(world):
    """Who takes over a lease writes down that the attempt before had no end."""
    put(world, "a1")
    assert [view.outcome for view in world.reader().deliveries()] == ["waiting"]
    claim(world, 0, outbox=Outbox(world.database(), owner=Owner("elsewhere", 1, "t")))
    assert [view.outcome for view in world.reader().deliveries()] == ["waiting"]
    finish(world, "a1", "delivered", now_ms=1_000)
    views = world.reader().deliveries()
    assert [(view.attempt, view.outcome) for view in views] == [(2, "delivered"), (1, "retry")]
    assert views[1].detail.startswith("interrupted")


def test_the_ledger_has_every_attempt(world):
    """Newest first, with number, outcome and words."""
    put(world, "a1")
    finish(world, "a1", "retry", now_ms=1, next_ms=2)
    finish(world, "a1", "delivered", now_ms=2)
    views = world.reader().deliveries()
    assert [(view.attempt, view.at_ms, view.outcome, view.detail, view.summary) for view in views] == [
        (2, 2, "delivered", "words", "A"),
        (1, 1, "retry", "words", "A"),
    ]


def test_what_waits_for_a_removed_receiver_is_a_dead_letter(world):
    """Visible in the ledger, not waiting for ever."""
    put(world, "a1", "b1", receiver="old")
    put(world, "a2")
    assert world.outbox.bury_strangers(["hook"], 7) == 2
    assert world.outbox.counts() == {"waiting": 1, "delivered": 0, "dead": 2}
    details = {
        view.notification_id: view.detail for view in world.reader().deliveries() if view.outcome == "dead"
    }
    assert details == dict.fromkeys(["a1", "b1"], "the receiver is no longer configured")
