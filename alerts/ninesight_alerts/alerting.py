"""Everything wired: rules, evaluator thread, one sender a receiver, on one database.

alerting = Alerting(config, engine, "sqlite:///ninesight.db")
alerting.start()
...
alerting.stop()
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from ninesight_query.contract import Engine

from ninesight_alerts.channel import WebhookChannel
from ninesight_alerts.config import AlertsConfig
from ninesight_alerts.contract import Channel, Record
from ninesight_alerts.database import Database
from ninesight_alerts.durations import duration_ms
from ninesight_alerts.evaluator import Evaluator, EvaluatorSettings
from ninesight_alerts.ledger import Ledger
from ninesight_alerts.outbox import Outbox
from ninesight_alerts.reader import DatabaseAlerts
from ninesight_alerts.rulefile import load_rules, template_problems
from ninesight_alerts.rules import RuleGroup, keyed
from ninesight_alerts.schedule import Schedule
from ninesight_alerts.sender import Sender
from ninesight_alerts.targets import Resolve, allowed_addresses, resolve

__all__ = ["Alerting", "check_rules"]

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 3_600.0
WAIT_S_MAX = 1.0


def check_rules(paths: Sequence[str | Path]) -> tuple[str, ...]:
    """Read rule files as `start` would. Returns warnings (templates that cannot be read); raises RuleError."""
    return template_problems(load_rules(paths, interval_ms=15_000))


class Alerting:
    """Evaluates rules and delivers notifications until it is stopped.

    `groups` are rules made by code (SLA burn rules) beside those of `config.rule_files`. `record`
    takes ALERTS series and the results of recording rules. Raises RuleError or ReceiverError for
    rules and receivers that cannot be used; the database is touched by `start` only.
    """

    def __init__(
        self,
        config: AlertsConfig,
        engine: Engine,
        url: str,
        *,
        record: Record | None = None,
        groups: Sequence[RuleGroup] = (),
        channels: dict[str, Channel] | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        loaded = load_rules(config.rule_files, interval_ms=duration_ms(config.evaluation_interval))
        self._groups = keyed((*loaded, *groups))
        self._config = config
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._database = Database(url)
        self._url = url
        self._outbox = Outbox(self._database)
        self._senders = self._made_senders(channels or {}, rng or random.Random(), resolver)
        self._evaluator = Evaluator(
            self._groups,
            engine,
            Ledger(self._database),
            config.routing(),
            record=record,
            wake=self._wake_senders,
            settings=EvaluatorSettings(config.external_url),
            monotonic=monotonic,
        )
        self._schedule = Schedule([group.interval_ms for group in self._groups], 0.0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def group_limits(self) -> dict[tuple[str, str], int]:
        """Return the `limit` of each group that has one, by (file, name)."""
        return {(group.file, group.name): group.limit for group in self._groups if group.limit}

    def start(self) -> None:
        """Create missing tables, restore the states, begin to evaluate and deliver.

        Raises AlertsError or what the database raises; then nothing runs.
        """
        assert self._thread is None
        for problem in template_problems(self._groups):
            log.warning("%s", problem)
        self._database.create()
        names = [receiver.name for receiver in self._config.receivers]
        if buried := self._outbox.bury_strangers(names, self._now_ms()):
            log.warning("%d notifications waited for receivers that are not configured: dead letters", buried)
        self._evaluator.restore(self._now_ms())
        for sender in self._senders:
            sender.start()
        self._schedule = Schedule([group.interval_ms for group in self._groups], self._monotonic())
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="alerts-evaluator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the evaluation and the attempts under way. Safe to call twice, and before `start`."""
        self._stop.set()
        for sender in self._senders:
            sender.begin_stop()
        if self._thread is not None:
            self._thread.join(60.0)
            self._thread = None
        for sender in self._senders:
            sender.stop()
        self._database.close()

    @property
    def groups(self) -> tuple[RuleGroup, ...]:
        """The loaded rules."""
        return self._groups

    def reader(self) -> DatabaseAlerts:
        """Return a new reader of the same database; the caller closes it."""
        return DatabaseAlerts(self._url)

    def stats(self) -> dict[str, int]:
        """Return counts since the start, by name, for self-metrics."""
        counts = asdict(self._evaluator.stats)
        counts["iterations_missed"] = sum(beat.missed for beat in self._schedule.beats)
        for sender in self._senders:
            for name, count in asdict(sender.stats).items():
                counts[f"deliveries_{name}"] = counts.get(f"deliveries_{name}", 0) + count
        return counts

    def _made_senders(
        self, channels: dict[str, Channel], rng: random.Random, resolver: Resolve
    ) -> tuple[Sender, ...]:
        senders = []
        for receiver in self._config.receivers:
            settings = receiver.settings()
            self._check_target(settings.url, allow_private=settings.allow_private, resolver=resolver)
            channel = channels.get(receiver.name) or WebhookChannel(
                settings, resolver=resolver, now_ms=self._now_ms, monotonic=self._monotonic
            )
            senders.append(
                Sender(
                    receiver.name,
                    channel,
                    self._outbox,
                    settings=self._config.sender_settings(receiver),
                    now_ms=self._now_ms,
                    monotonic=self._monotonic,
                    rng=rng,
                )
            )
        return tuple(senders)

    def _check_target(self, url: str, *, allow_private: bool, resolver: Resolve) -> None:
        """Refuse a forbidden target now; a name that does not resolve yet may do so later."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            allowed_addresses(parts.hostname or "", port, allow_private=allow_private, resolver=resolver)
        except OSError as error:
            log.warning("receiver %s has no address yet: %s", parts.hostname, error)

    def _wake_senders(self) -> None:
        for sender in self._senders:
            sender.wake()

    def _run(self) -> None:
        pruned = self._monotonic()
        while not self._stop.is_set():
            self._stop.wait(self._pause_s())
            if self._stop.is_set():
                return
            try:
                self._turn()
            except Exception as error:
                # The evaluator counts what it expects; a defect must not end the watch.
                log.exception("evaluating rules: %s", type(error).__name__)
            if self._monotonic() - pruned >= PRUNE_EVERY_S:
                pruned = self._monotonic()
                self._evaluator.prune(self._now_ms() - duration_ms(self._config.history))

    def _turn(self) -> None:
        due_ms = self._evaluator.due_ms
        if due_ms is not None and self._now_ms() >= due_ms:
            self._evaluator.tick(self._now_ms())
        at = self._schedule.next()
        if at is None or self._schedule.beats[at].due > self._monotonic():
            return
        try:
            self._evaluator.evaluate(self._groups[at], self._now_ms())
        finally:
            self._schedule.beats[at].done(self._monotonic())

    def _pause_s(self) -> float:
        at = self._schedule.next()
        pause_s = WAIT_S_MAX if at is None else self._schedule.beats[at].due - self._monotonic()
        if self._evaluator.due_ms is not None:
            # Never zero: a commit that does not succeed leaves the message due.
            pause_s = min(pause_s, max(0.05, (self._evaluator.due_ms - self._now_ms()) / 1000))
        return min(max(pause_s, 0.0), WAIT_S_MAX)
