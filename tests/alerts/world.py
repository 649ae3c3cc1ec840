"""A world in which time is an argument: a database on disk, a scripted engine, an evaluator."""

import itertools

from ninesight_alerts import DatabaseAlerts, rules_from_text
from ninesight_alerts.database import Database
from ninesight_alerts.evaluator import Evaluator
from ninesight_alerts.grouping import ReceiverRoute, Routing
from ninesight_alerts.ledger import Ledger
from ninesight_alerts.outbox import Outbox
from ninesight_alerts.testing import RecordingRecord, ScriptedEngine

RULES = """
groups:
- name: g
  interval: 15s
  rules:
  - alert: TooSlow
    expr: slow
    for: 30s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.model }} at {{ $value }}"}
"""


class World:
    """Everything but threads. `restart` forgets memory and keeps the disk, as kill -9 does."""

    def __init__(self, folder, rules=RULES, routing=None, url=None):
        self.url = url or f"sqlite:///{folder}/alerts.db"
        self.rules = rules
        self.routing = routing or Routing((ReceiverRoute("hook"),))
        self.engine = ScriptedEngine()
        self.record = RecordingRecord()
        self.woken = 0
        self._ids = itertools.count(1)
        self._open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for item in self._open:
            item.close()

    def database(self, **settings):
        self._open.append(Database(self.url, **settings))
        return self._open[-1]

    def start(self, now_ms=0):
        """A new process: tables, restored states."""
        database = self.database()
        database.create()
        self.ledger = Ledger(database)
        self.outbox = Outbox(database)
        self.evaluator = Evaluator(
            rules_from_text(self.rules),
            self.engine,
            self.ledger,
            self.routing,
            record=self.record,
            wake=self._wake,
            new_id=lambda: f"msg_{next(self._ids)}",
        )
        self.evaluator.restore(now_ms)
        return self

    restart = start

    def _wake(self):
        self.woken += 1

    def evaluate(self, now_ms):
        for group in self.evaluator.groups:
            self.evaluator.evaluate(group, now_ms)

    def reader(self):
        self._open.append(DatabaseAlerts(self.url))
        return self._open[-1]

    def waiting(self):
        """(id, status) of what waits in the outbox, oldest first."""
        views = [view for view in self.reader().deliveries(limit=1000) if view.outcome == "waiting"]
        return [(view.notification_id, view.status) for view in reversed(views)]
