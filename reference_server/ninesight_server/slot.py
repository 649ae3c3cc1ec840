"""One served model: its backend, its batcher, its readiness, and what the SDK records of it.

loading ──load──► golden input ──right──► ready ──every minute: golden input──► ready
                       └──wrong──► not ready, asked again every few seconds ──right──► ready
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

import ninesight

from ninesight_server.batcher import Batcher, BatcherSettings, Member
from ninesight_server.config import ServerSettings
from ninesight_server.contract import Backend, ModelSpec, Tensors
from ninesight_server.errors import DeadlineError, NotReadyError
from ninesight_server.faults import FaultSwitch

__all__ = ["ModelSlot"]

_GOLDEN_AGAIN_S = 5.0
"""While a model fails its golden input it is asked this often: it may come back."""


class ModelSlot:
    """A model from load to unload. All methods belong to one event loop."""

    def __init__(
        self,
        backend: Backend,
        settings: ServerSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.backend = backend
        self.faults = FaultSwitch()
        self.why_not: str | None = "the model is loading"
        """Why it takes no requests; None while it is ready."""
        self._settings = settings
        self._sleep = sleep
        self._checking: asyncio.Task[None] | None = None
        spec = backend.spec
        self._handle = ninesight.model(spec.name, version=spec.version)
        self._batcher = Batcher(
            backend,
            BatcherSettings(settings.batch_rows_max, settings.queue_requests_max),
            around_run=self._execution,
            before_run=self.faults.delay_s,
        )

    @property
    def spec(self) -> ModelSpec:
        """The model's face."""
        return self.backend.spec

    @property
    def ready(self) -> bool:
        """True while the last golden input was answered rightly, until unload."""
        return self.why_not is None

    async def load(self) -> None:
        """Load, ask the golden input, and go on asking it. Raises InferenceError if the model cannot be loaded."""
        with self._handle.loading():
            await asyncio.get_running_loop().run_in_executor(None, self.backend.load)
        self._handle.info(platform=self.spec.platform, device=self.backend.device)
        self._handle.queue_depth(lambda: self._batcher.waiting)
        self._batcher.start()
        await self.check()
        self._checking = asyncio.create_task(self._keep_checking(), name=f"golden-{self.spec.name}")

    async def check(self) -> None:
        """Ask the golden input, in the next run of the batcher: what waits is not held up by more than its rows.

        A wrong, failed or late answer makes the model not ready, a right one ready.
        """
        timeout_s = self._settings.timeout_s
        try:
            golden = self.backend.golden
            async with asyncio.timeout(timeout_s):
                found = await self._batcher.submit(golden.inputs, timeout_s, first=True).answer
            why_not = golden.fault(found)
        except (TimeoutError, DeadlineError):
            why_not = f"the golden input was not answered within the timeout of {timeout_s:g} s"
        except Exception as error:
            why_not = f"the golden input was not answered: {error or type(error).__name__}"
        self._handle.golden_check(why_not is None)
        if why_not != self.why_not:
            logging.getLogger(__name__).warning("%s is %s", self.spec.name, why_not or "ready")
        self.why_not = why_not
        self._handle.ready(why_not is None)

    async def unload(self) -> None:
        """Refuse new requests, answer those queued, and give the memory back. Safe to call twice."""
        self.why_not = "the model is unloaded"
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking
            self._checking = None
        self._handle.loaded(False)
        await self._batcher.stop()
        self.backend.unload()

    async def infer(self, inputs: Tensors, call: ninesight.Call) -> Tensors:
        """Answer one request. Raises NotReadyError, OverloadedError, DeadlineError, InferenceError."""
        if self.why_not is not None:
            raise NotReadyError(f"{self.spec.name} is not ready: {self.why_not}")
        self.faults.maybe_fail()
        timeout_s = self._settings.timeout_s
        call.enqueue()
        member = self._batcher.submit(inputs, timeout_s, call=call)
        try:
            async with asyncio.timeout(timeout_s):
                return await member.answer
        except TimeoutError:
            raise DeadlineError(
                f"{self.spec.name}: no answer within the timeout of {timeout_s:g} s; the request was given up"
            ) from None

    def _execution(self, members: Sequence[Member]) -> ninesight.Execution:
        """Have the SDK record a run: once for the device, and for each request its wait, its run and its share by rows."""
        asked = [member for member in members if member.call is not None]
        return self._handle.execution(
            [member.call for member in asked if member.call is not None],
            size=len(members),
            weights=[member.rows for member in asked],
            gpu=self.backend.device,
        )

    async def _keep_checking(self) -> None:
        every_s = self._settings.golden_every_s
        while True:
            await self._sleep(every_s if self.ready else min(every_s, _GOLDEN_AGAIN_S))
            await self.check()
