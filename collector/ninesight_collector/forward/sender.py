"""Remote write to one receiver, through a queue on the disk (a `store.Sink`).

    write ──► cut by shard ──► 2.0 requests ──► Spool (fsync) ──► return
                                                   │ a thread a shard, each series always in the same one
                                                   └► POST ─ 2xx ► done
                                                          ├ 5xx, 429, no answer ► the same again, later and later
                                                          ├ 415 ► the same as 1.0
                                                          └ other 4xx ► dropped, counted, logged once a reason

Which version a receiver takes is asked with an empty request: one of 2.0 must answer with the numbers it has
written, and an older one that reads 2.0 as 1.0 finds nothing in it, says 204 and would do so to real data.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
from ninesight_store.contract import Batch

from ninesight_collector.contract import TargetView
from ninesight_collector.counters import Counters
from ninesight_collector.errors import BodyError, ConfigError
from ninesight_collector.forward.client import Outcome, Reply, WriteClient
from ninesight_collector.forward.cutter import Cutter
from ninesight_collector.forward.payload import Natives, Payloads
from ninesight_collector.forward.segment import Ref
from ninesight_collector.forward.settings import SenderSettings
from ninesight_collector.forward.spool import Spool
from ninesight_collector.remote_write.block import compress

__all__ = ["RemoteWriter"]

_log = logging.getLogger(__name__)
_TAKE_S = 1.0
_PROBE_AGAIN_S = 3600.0
_JOINED_MAX = 500
"""Samples of 2.0 records that ride together: below it a request costs more than joining."""
_EMPTY = compress(b"")
_NOT_LET_IN = ("401", "403", "404", "407")
_REASONS_LOGGED_MAX = 100
_NATIVES = {"auto": Natives.EXPONENTIAL, "send": Natives.ALL, "classic": Natives.NONE}


class RemoteWriter:
    """Sends batches to one receiver. `write` is safe from many threads; start and stop once."""

    def __init__(
        self,
        settings: SenderSettings,
        folder: Path,
        counters: Counters,
        now_ms: Callable[[], int],
        *,
        transport: httpx2.BaseTransport | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the queue in `folder`. Raises ConfigError."""
        self.settings = settings
        self._counters, self._now_ms = counters, now_ms
        self._uniform, self._monotonic = uniform, monotonic
        self._client = WriteClient(settings.client, transport=transport)
        try:
            self._spool = Spool(folder, settings.spool, now_ms=now_ms, dropped=self._dropped)
        except OSError as error:
            raise ConfigError(
                f"the queue of remote_write {settings.name} must be a folder of one process, got {folder}: {error}"
            ) from error
        self._cutter = Cutter(settings)
        self._stopping = threading.Event()
        self._choice = threading.Lock()
        self._version = 0
        self._natives = _NATIVES[settings.native_histograms]
        self._ask_after_s = float("-inf")
        self._told: set[str] = set()
        self._last_ms, self._error = 0, ""
        self._up: bool | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(shard,), name=f"ninesight-send-{shard}", daemon=True)
            for shard in range(settings.spool.shards)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def write(self, batch: Batch) -> None:
        """Keep the batch for sending; it is on the disk when this returns. Raises RetryableError."""
        records = self._cutter.records(batch)
        if records:
            self._spool.add(records)

    def stop(self, timeout_s: float) -> bool:
        """End sending: requests under way finish, what waits stays on the disk. False past the timeout."""
        self._stopping.set()
        deadline = self._monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - self._monotonic()))
        self._spool.close()
        ended = not any(thread.is_alive() for thread in self._threads)
        if ended:
            self._client.close()
        return ended

    def measure(self) -> None:
        """Put what waits into the counters."""
        state, name = self._spool.state(), self.settings.name
        lag_s = max(0.0, (self._now_ms() - state.oldest_ms) / 1000) if state.oldest_ms else 0.0
        self._counters.set("remote_write_pending_samples", state.samples, target=name)
        self._counters.set("remote_write_pending_bytes", state.bytes, target=name)
        self._counters.set("remote_write_lag_seconds", lag_s, target=name)

    def view(self) -> TargetView:
        """Return how sending goes, for a status page."""
        sent = int(self._counters.get("remote_write_sent_samples_total", target=self.settings.name))
        return TargetView(
            "remote_write",
            self.settings.name,
            self.settings.where,
            self._up,
            self._last_ms,
            0.0,
            sent,
            self._error,
        )

    def _run(self, shard: int) -> None:
        payloads, failures = Payloads(monotonic=self._monotonic), 0
        while not self._stopping.is_set():
            try:
                reply = self._turn(shard, payloads)
            except Exception:
                _log.exception("sending to %s broke; it goes on", self.settings.name)
                reply = Reply(Outcome.LATER, "bug")
            if reply is None or reply.outcome is not Outcome.LATER:
                failures = 0
                continue
            failures += 1
            self._note(reply)
            self._counters.add("remote_write_retries_total", target=self.settings.name, reason=reply.reason)
            self._stopping.wait(max(self._backoff_s(failures), reply.retry_after_s))

    def _turn(self, shard: int, payloads: Payloads) -> Reply | None:
        """Send the next records of a shard; None where there are none."""
        together = self.settings.samples_per_request
        if self._version == 2 and self._natives is not Natives.NONE:
            # A record goes as it lies; to join some they must be read and written again.
            together = min(together, _JOINED_MAX)
        refs = self._spool.take(shard, together, _TAKE_S)
        if not refs or self._stopping.is_set():
            return None
        unknown = self._learn()
        return unknown if unknown is not None else self._deliver(refs, payloads)

    def _deliver(self, refs: Sequence[Ref], payloads: Payloads) -> Reply:
        version = self._version
        bodies = {ref: self._spool.body(ref) for ref in refs}
        records = {ref: body for ref, body in bodies.items() if body is not None}
        if not records:
            return self._finish(refs, records, Reply(Outcome.REFUSED, "damaged", "the queue is damaged"))
        try:
            body = payloads.body(list(records.values()), version, self._natives)
        except BodyError as error:
            return self._finish(refs, {}, Reply(Outcome.REFUSED, "damaged", str(error)))
        reply = self._client.post(body, version)
        if version == 2 and (
            reply.outcome is Outcome.WRONG_VERSION
            or (reply.outcome is Outcome.SENT and reply.written is None)
        ):
            self._fall_back(reply)
            return self._deliver(refs, payloads)
        if reply.outcome is Outcome.LATER:
            return reply
        if reply.outcome is Outcome.SENT:
            self._counters.add("remote_write_sent_bytes_total", len(body), target=self.settings.name)
        elif len(refs) > 1:
            # One bad record must not cost the others that rode with it.
            for ref in refs:
                reply = self._deliver([ref], payloads)
                if reply.outcome is Outcome.LATER:
                    break
            return reply
        return self._finish(refs, records, reply)

    def _finish(self, refs: Sequence[Ref], records: Collection[Ref], reply: Reply) -> Reply:
        """Take records from the queue and count what became of them; those not in `records` are damaged."""
        name, done = self.settings.name, self._spool.done(refs)
        if not done:
            # Dropped from the queue meanwhile, or the queue was closed: counted there, or still waiting.
            return reply
        whole = sum(ref.samples for ref in done if ref in records)
        self._dropped("damaged", sum(ref.samples for ref in done if ref not in records))
        kept = whole
        if reply.outcome is Outcome.SENT:
            self._last_ms, self._error, self._up = self._now_ms(), "", True
        else:
            # A partial write: the rest was kept, and the receiver says how much that is.
            kept = min(whole, reply.written[0] + reply.written[1]) if reply.written else 0
            self._note(reply)
        self._counters.add("remote_write_sent_samples_total", kept, target=name)
        if whole > kept:
            self._counters.add(
                "remote_write_failed_samples_total", whole - kept, target=name, reason=reply.reason
            )
        return reply

    def _note(self, reply: Reply) -> None:
        self._last_ms = self._now_ms()
        self._error = f"{reply.reason}: {reply.text}" if reply.text else reply.reason
        self._up = False
        if reply.reason not in self._told and len(self._told) < _REASONS_LOGGED_MAX:
            self._told.add(reply.reason)
            fate = "sent again later" if reply.outcome is Outcome.LATER else "not sent again"
            _log.warning("%s (%s): %s; %s", self.settings.name, self.settings.where, self._error, fate)

    def _dropped(self, reason: str, samples: int) -> None:
        if samples:
            self._counters.add(
                "remote_write_dropped_samples_total", samples, target=self.settings.name, reason=reason
            )

    def _backoff_s(self, failures: int) -> float:
        longest = min(self.settings.backoff_s_max, self.settings.backoff_s_min * 2.0 ** min(failures - 1, 30))
        return longest * self._uniform(0.5, 1.0)

    def _learn(self) -> Reply | None:
        """Find out once which version the receiver takes; the reply where it cannot be asked now."""
        with self._choice:
            asked = self.settings.protocol
            if self._version and (
                asked != "auto" or self._version == 2 or self._monotonic() < self._ask_after_s
            ):
                return None
            reply = self._client.post(_EMPTY, 1 if asked == "1.0" else 2)
            if reply.outcome is Outcome.LATER:
                return reply
            if reply.reason in _NOT_LET_IN:
                # Nothing is sent, so nothing is lost, until somebody has put the login or the path right.
                return replace(reply, outcome=Outcome.LATER)
            takes_2 = reply.outcome is Outcome.SENT and reply.written is not None
            self._version = 2 if asked == "2.0" or (asked == "auto" and takes_2) else 1
            self._ask_after_s = self._monotonic() + _PROBE_AGAIN_S
            if self.settings.native_histograms == "auto":
                self._natives = Natives.NONE if reply.victoria_metrics else Natives.EXPONENTIAL
            return None

    def _fall_back(self, reply: Reply) -> None:
        with self._choice:
            if self._version == 2:
                _log.warning(
                    "%s (%s) takes no remote write 2.0 (%s); 1.0 is used",
                    self.settings.name,
                    self.settings.where,
                    reply.reason,
                )
            self._version = 1
            self._ask_after_s = self._monotonic() + _PROBE_AGAIN_S
