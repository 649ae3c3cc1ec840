"""Dynamic batching: who shares a run, who is shed, who is given up."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest
from ninesight_server.batcher import Batcher, BatcherSettings
from ninesight_server.errors import DeadlineError, InferenceError, OverloadedError
from ninesight_server.testing import DoublingBackend


def row(value):
    return {"x": np.full((1, 2), value, np.float32)}


class HeldBackend(DoublingBackend):
    """A backend whose first run waits for `release`."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def run(self, batch):
        self.entered.set()
        assert self.release.wait(120)
        return super().run(batch)


async def entered(backend):
    await asyncio.get_running_loop().run_in_executor(None, backend.entered.wait, 10)


def test_requests_that_wait_share_the_next_run():
    """One run is under way; the eight requests behind it are answered by one more, each with its own rows."""

    async def scene():
        backend = HeldBackend()
        heard = []

        @contextlib.contextmanager
        def around(members):
            heard.append((threading.current_thread(), list(members), len(backend.batches)))
            yield
            heard.append(len(backend.batches))

        batcher = Batcher(backend, BatcherSettings(), around_run=around)
        batcher.start()
        first = batcher.submit(row(0), 10)
        await entered(backend)
        others = [batcher.submit(row(value), 10) for value in range(1, 9)]
        assert batcher.waiting == 8
        backend.release.set()
        answers = [await member.answer for member in [first, *others]]
        await batcher.stop()
        return backend, answers, first, others, heard

    backend, answers, first, others, heard = asyncio.run(scene())
    assert backend.batches == [1, 8]
    assert [float(answer["y"][0, 0]) for answer in answers] == [2.0 * value for value in range(9)]
    (thread, alone, before), after, (_, together, _), _ = heard
    assert thread is not threading.main_thread(), "entered on the thread that runs"
    assert (alone, together) == ([first], others)
    assert (before, after) == (0, 1), "around the run"


def test_a_batch_never_exceeds_its_row_limit():
    """Members join in order until the next would not fit."""

    async def scene():
        backend = HeldBackend()
        batcher = Batcher(backend, BatcherSettings(batch_rows_max=4))
        batcher.start()
        members = [batcher.submit(row(0), 10)]
        await entered(backend)
        members += [batcher.submit({"x": np.zeros((3, 2), np.float32)}, 10) for _ in range(3)]
        backend.release.set()
        await asyncio.gather(*(member.answer for member in members))
        await batcher.stop()
        return backend.batches

    assert asyncio.run(scene()) == [1, 3, 3, 3]


def test_a_full_queue_sheds_at_once():
    """The request beyond the bound is refused when it arrives, with the bound in its message."""

    async def scene():
        backend = HeldBackend()
        batcher = Batcher(backend, BatcherSettings(queue_requests_max=2))
        batcher.start()
        members = [batcher.submit(row(0), 10)]
        await entered(backend)
        members += [batcher.submit(row(0), 10) for _ in range(2)]
        with pytest.raises(OverloadedError, match="at most 2 requests may wait"):
            batcher.submit(row(0), 10)
        backend.release.set()
        await asyncio.gather(*(member.answer for member in members))
        await batcher.stop()

    asyncio.run(scene())


def test_one_of_the_servers_own_goes_first():
    """Before all that waits, into a full queue too; no other bound is given up."""

    async def scene():
        backend = HeldBackend()
        batcher = Batcher(backend, BatcherSettings(batch_rows_max=2, queue_requests_max=3))
        batcher.start()
        members = [batcher.submit(row(0), 10)]
        await entered(backend)
        members += [batcher.submit(row(value), 10) for value in (1, 2, 3)]
        own = batcher.submit({"x": np.full((2, 2), 7, np.float32)}, 10, first=True)
        order = []
        for member in (own, members[1]):
            member.answer.add_done_callback(order.append)
        backend.release.set()
        await asyncio.gather(own.answer, *(member.answer for member in members))
        await batcher.stop()
        return backend.batches, order == [own.answer, members[1].answer], own.answer.result()

    batches, own_first, found = asyncio.run(scene())
    assert batches == [1, 2, 2, 1]
    assert own_first
    assert found["y"].tolist() == [[14.0, 14.0]] * 2


def test_an_expired_or_cancelled_member_is_not_run():
    """Work nobody waits for is not done: the expired one gets DeadlineError, the cancelled one nothing."""

    async def scene():
        now = [0.0]
        backend = HeldBackend()
        batcher = Batcher(backend, BatcherSettings(), clock_s=lambda: now[0])
        batcher.start()
        first = batcher.submit(row(0), 100)
        await entered(backend)
        late, gone, fine = (batcher.submit(row(0), timeout) for timeout in (1.0, 100.0, 100.0))
        gone.answer.cancel()
        now[0] = 2.0
        backend.release.set()
        await asyncio.gather(first.answer, fine.answer)
        with pytest.raises(DeadlineError):
            await late.answer
        await batcher.stop()
        return backend.batches

    assert asyncio.run(scene()) == [1, 1]


def test_a_failing_run_fails_its_members_and_nobody_else():
    """The error reaches all members of the batch, and the next batch runs."""

    class Failing(DoublingBackend):
        def run(self, batch):
            if batch["x"][0, 0] < 0:
                raise ValueError("negative")
            return super().run(batch)

    async def scene():
        batcher = Batcher(Failing(), BatcherSettings())
        batcher.start()
        with pytest.raises(InferenceError, match="negative"):
            await batcher.submit(row(-1), 10).answer
        answer = await batcher.submit(row(1), 10).answer
        await batcher.stop()
        return float(answer["y"][0, 0])

    assert asyncio.run(scene()) == 2.0


def test_stop_answers_what_is_queued():
    """A batcher that stops finishes its queue first."""

    async def scene():
        batcher = Batcher(DoublingBackend(), BatcherSettings())
        batcher.start()
        members = [batcher.submit(row(value), 10) for value in range(5)]
        await batcher.stop()
        return [float(member.answer.result()["y"][0, 0]) for member in members]

    assert asyncio.run(scene()) == [0.0, 2.0, 4.0, 6.0, 8.0]
