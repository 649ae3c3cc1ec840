"""A load written by somebody else into a JSON file, read again whenever it changes.

    {"gpus": [{"utilization": 0.7, "memory_used_bytes": 20000000000,
               "processes": [{"pid": 4711, "memory_bytes": 19000000000, "utilization": 0.7}]}]}

A GPU the file does not name has the scenario's own load. A file that cannot be read leaves the
last good one in force; `error` says why.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ninesight_collector.gpu.scenario import GpuLoad, GpuProcess

__all__ = ["ScenarioFile"]

_BYTES_MAX = 1 << 20
_PROCESSES_MAX = 256


class _Process(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pid: int = Field(ge=1, lt=1 << 32)
    memory_bytes: int = Field(default=0, ge=0, lt=1 << 62)
    utilization: float = Field(default=0.0, ge=0, le=1)


class _Gpu(BaseModel):
    model_config = ConfigDict(extra="forbid")
    utilization: float = Field(default=0.0, ge=0, le=1)
    memory_used_bytes: int | None = Field(default=None, ge=0, lt=1 << 62)
    processes: list[_Process] = Field(default_factory=list, max_length=_PROCESSES_MAX)
    lost: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    gpus: list[_Gpu] = Field(default_factory=list, max_length=64)


class ScenarioFile:
    """A `LoadSource` that reads a file. Writers should replace the file, not write into it."""

    def __init__(self, path: str | Path, default: GpuLoad) -> None:
        self._path = Path(path)
        self._default = default
        self._seen: tuple[int, int, int] | None = None
        self._loads: list[GpuLoad] = []
        self.error = ""
        """Why the file is not in force; "" if it is."""

    def __call__(self, gpu: int, now_ms: int) -> GpuLoad:
        """Return the load of a GPU as the file says now."""
        del now_ms
        self._refresh()
        return self._loads[gpu] if gpu < len(self._loads) else self._default

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            if stat.st_size > _BYTES_MAX:
                self.error = f"{self._path} must not be above {_BYTES_MAX} bytes, got {stat.st_size}"
                return
            file = _File.model_validate_json(self._path.read_bytes())
        except OSError as error:
            self.error = f"{self._path} cannot be read: {error.strerror}"
            return
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            self.error = f"{self._path}: {place}: {first['msg']}"
            return
        self._seen, self.error = seen, ""
        self._loads = [
            GpuLoad(
                utilization=entry.utilization,
                memory_used_bytes=entry.memory_used_bytes,
                processes=tuple(GpuProcess(p.pid, p.memory_bytes, p.utilization) for p in entry.processes),
                lost=entry.lost,
            )
            for entry in file.gpus
        ]
