"""One thread per receiver that empties the outbox: claim, send, write down what happened.

A slow or dead receiver holds up nobody else. Waits grow from `backoff_s_min`, doubling with
jitter up to `backoff_s_max`; what a receiver asks for in Retry-After is kept. After `attempts_max`
attempts, or a PermanentError, the notification is a dead letter: visible, counted, never dropped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ninesight_alerts.contract import Channel
from ninesight_alerts.errors import PermanentError, RetryableError
from ninesight_alerts.outbox import Attempt, Claim, Outbox

__all__ = ["Sender", "SenderSettings", "SenderStats"]

log = logging.getLogger(__name__)

IDLE_S_MAX = 1.0
"""How long another process' notification may wait to be seen; our own evaluator wakes the sender."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How hard to try."""

    backoff_s_min: float = 1.0
    backoff_s_max: float = 300.0
    attempts_max: int = 300
    """About a day with the waits above."""
    lease_ms: int = 25_000
    """Must be longer than one attempt can take."""


@dataclass(slots=True)
class SenderStats:
    """Counts since the start."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0
    errors: int = 0
    """The database could not be asked; the sender tried again."""


class Sender:
    """Delivers one receiver's notifications in order of their groups."""

    def __init__(
        self,
        receiver: str,
        channel: Channel,
        outbox: Outbox,
        *,
        settings: SenderSettings | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.stats = SenderStats()
        self._receiver = receiver
        self._channel = channel
        self._outbox = outbox
        self._settings = settings or SenderSettings()
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._rng = rng or random.Random()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to deliver in a thread."""
        assert self._thread is None
        self._thread = threading.Thread(target=self._run, name=f"alerts-sender-{self._receiver}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at the outbox now: something was committed."""
        self._wake.set()

    def begin_stop(self) -> None:
        """Begin nothing new after the attempt under way."""
        self._stopping = True
        self._wake.set()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Finish the attempt under way and end. Safe to call twice."""
        self.begin_stop()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("sender %s: an attempt is still under way after %g s", self._receiver, timeout_s)
            self._thread = None

    def send_next(self) -> bool:
        """Claim and send one notification; return False if none is due."""
        claim = self._outbox.claim(self._receiver, self._now_ms(), self._settings.lease_ms)
        if claim is None:
            return False
        attempt = self._attempt(claim)
        self._outbox.finish(claim, attempt)
        self._count(claim, attempt)
        return True

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            idle_s = IDLE_S_MAX
            try:
                while not self._stopping and self.send_next():
                    pass
                idle_s = self._idle_s()
            except Exception as error:
                self.stats.errors += 1
                log.warning("sender %s: %s", self._receiver, error)
            self._wake.wait(idle_s)

    def _idle_s(self) -> float:
        next_ms = self._outbox.next_ms(self._receiver)
        if next_ms is None:
            return IDLE_S_MAX
        # Due but not claimable means leased elsewhere or behind another of its group: look again soon.
        return min(max((next_ms - self._now_ms()) / 1000, 0.05), IDLE_S_MAX)

    def _attempt(self, claim: Claim) -> Attempt:
        at_ms, started = self._now_ms(), self._monotonic()
        outcome, detail, next_ms = "delivered", "", 0
        try:
            receipt = self._channel.send(claim.notification)
            detail = f"HTTP {receipt.status_code}"
        except PermanentError as error:
            outcome, detail = "dead", str(error)
        except Exception as error:
            # A defect in a channel is treated as an attempt that failed: never a lost notification.
            known = isinstance(error, RetryableError)
            detail = str(error) if known else f"{type(error).__name__}: {error}"
            outcome, next_ms = (
                "retry",
                at_ms + self._wait_ms(claim.attempt, getattr(error, "retry_after_s", 0.0)),
            )
            if claim.attempt >= self._settings.attempts_max:
                outcome, detail = "dead", f"{detail}; gave up after {claim.attempt} attempts"
        return Attempt(outcome, detail, at_ms, round((self._monotonic() - started) * 1000), next_ms)

    def _wait_ms(self, attempt: int, asked_s: float) -> int:
        """Half of the wait is fixed, half is chance: many senders spread, none hurries."""
        settings = self._settings
        full_s = min(settings.backoff_s_min * 2.0 ** min(attempt - 1, 30), settings.backoff_s_max)
        return round(max(full_s * (0.5 + self._rng.random() / 2), asked_s) * 1000)

    def _count(self, claim: Claim, attempt: Attempt) -> None:
        name = f"notification {claim.notification.id} to {self._receiver}"
        if attempt.outcome == "delivered":
            self.stats.delivered += 1
        elif attempt.outcome == "retry":
            self.stats.retried += 1
            log.warning("%s: attempt %d: %s", name, claim.attempt, attempt.detail)
        else:
            self.stats.dead += 1
            log.error("%s is a dead letter: %s", name, attempt.detail)
