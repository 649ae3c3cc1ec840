"""One served model: its backend, its batcher, its readiness, and what the SDK records of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import ninesight

from ninesight_server.batcher import Batcher, BatcherSettings
from ninesight_server.config import ServerSettings
from ninesight_server.contract import Backend, ModelSpec, Tensors
from ninesight_server.errors import DeadlineError, NotReadyError
from ninesight_server.faults import FaultSwitch

__all__ = ["Answered", "ModelSlot"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A model's answer, with where the time went."""

    outputs: Tensors
    waited_s: float
    ran_s: float
    batch_rows: int


class ModelSlot:
    """A model from load to unload. All methods belong to one event loop."""

    def __init__(self, backend: Backend, settings: ServerSettings) -> None:
        self.backend = backend
        self.faults = FaultSwitch()
        self._timeout_s = settings.timeout_s
        self._ready = False
        spec = backend.spec
        self._handle = ninesight.model(spec.name, version=spec.version)
        self._batcher = Batcher(
            backend,
            BatcherSettings(settings.batch_rows_max, settings.queue_requests_max),
            on_batch=self._record_batch,
            before_run=self.faults.delay_s,
        )

    @property
    def spec(self) -> ModelSpec:
        """The model's face."""
        return self.backend.spec

    @property
    def ready(self) -> bool:
        """True after the golden input was answered rightly, until unload."""
        return self._ready

    async def load(self) -> None:
        """Load, prove, and begin to take requests. Raises InferenceError."""
        start_s = time.perf_counter()
        await asyncio.get_running_loop().run_in_executor(None, self.backend.load)
        self._handle.load_duration(time.perf_counter() - start_s)
        self._handle.info(platform=self.spec.platform, device=self.backend.device)
        self._handle.queue_depth(lambda: self._batcher.waiting)
        self._batcher.start()
        self._ready = True
        self._handle.ready(True)

    async def unload(self) -> None:
        """Refuse new requests, answer those queued, and give the memory back."""
        self._ready = False
        self._handle.ready(False)
        await self._batcher.stop()
        self.backend.unload()

    async def infer(self, inputs: Tensors) -> Answered:
        """Answer one request. Raises NotReadyError, OverloadedError, DeadlineError, InferenceError."""
        if not self._ready:
            raise NotReadyError(f"{self.spec.name} is not ready; ask /v2/models/{self.spec.name}/ready")
        self.faults.maybe_fail()
        member = self._batcher.submit(inputs, self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                outputs = await member.answer
        except TimeoutError:
            raise DeadlineError(
                f"{self.spec.name}: no answer within the timeout of {self._timeout_s:g} s; the request was given up"
            ) from None
        return Answered(outputs, member.waited_s, member.ran_s, member.batch_rows)

    def _record_batch(self, rows: int, seconds: float) -> None:
        self._handle.batch(size=rows, accelerator_seconds=seconds, gpu=self.backend.device)
