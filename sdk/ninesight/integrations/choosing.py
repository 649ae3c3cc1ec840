"""Which requests of a server are observed, and under which model: shared by all middlewares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ninesight.api import RUNTIME, call
from ninesight.calls import Call
from ninesight.errors import ConfigError
from ninesight.labels import check_label_names
from ninesight.series import ModelSeries
from ninesight.slots import Point

__all__ = ["EXCLUDED", "Chooser"]

EXCLUDED = ("/metrics", "/health", "/healthz", "/live", "/ready", "/docs", "/openapi.json", "/favicon.ico")
"""Paths that are no predictions."""

Told = str | Callable[..., Any]

_PATHS_MAX = 1024


class Chooser:
    """Makes the call of a request. `model`, `version` and labels are fixed, or functions of the request."""

    def __init__(
        self,
        *,
        model: Told,
        version: Told = "1",
        labels: Mapping[str, Told] | None = None,
        paths: Sequence[str] = ("/",),
        excluded: Sequence[str] = EXCLUDED,
    ) -> None:
        if not callable(model) and not isinstance(model, str):
            raise ConfigError(
                f"model must be a name or a function of the request, got {model!r}; write model='...'"
            )
        check_label_names(labels or (), "labels")
        self._model = model
        self._version = version
        self._labels = dict(labels or {})
        self._paths = tuple(paths)
        self._excluded = frozenset(excluded)
        self._below_excluded = tuple(item + "/" for item in excluded)
        self._seen: dict[str, bool] = {}
        self.known: dict[str, Point] = {}
        """Observed paths, where all are counted as the same: asked of these, a middleware need not ask further."""
        told = (model, version, *self._labels.values())
        self._fixed: Point | None = None
        if not any(map(callable, told)):
            self._fixed = self._point(call(str(model), str(version), self._labels).series)

    def call_of(self, path: str, request: Any) -> Call | None:
        """Return the call of a request, not begun; None for one that is not observed."""
        point = self.point_of(path, request)
        return None if point is None else Call(point.series)

    def point_of(self, path: str, request: Any) -> Point | None:
        """Return what a request is counted as; None for a path that is not observed, or a function that says None."""
        observed = self._seen.get(path)
        if observed is None:
            observed = self._observes(path)
        if not observed or not RUNTIME.enabled:
            return None
        if self._fixed is not None:
            return self._fixed
        model = self._ask(self._model, request)
        if model is None:
            return None
        labels = {name: self._ask(told, request) for name, told in self._labels.items()}
        version = str(self._ask(self._version, request) or "1")
        return self._point(RUNTIME.series(str(model), version, tuple(labels.items())))

    @staticmethod
    def _point(series: ModelSeries) -> Point:
        return series.buffers.point(series, 1)

    def _observes(self, path: str) -> bool:
        """Match a path, and remember it: a server has few. Beyond a bound each is matched anew."""
        observed = (
            path.startswith(self._paths)
            and path not in self._excluded
            and not path.startswith(self._below_excluded)
        )
        if len(self._seen) < _PATHS_MAX:
            self._seen[path] = observed
            if observed and self._fixed is not None:
                self.known[path] = self._fixed
        return observed

    def _ask(self, told: Told, request: Any) -> Any:
        if not callable(told):
            return told
        try:
            return told(request)
        except Exception as error:
            RUNTIME.faults.internal("a function of the request", error)
            return "unknown"
