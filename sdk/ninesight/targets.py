"""What a decorated function is counted as: fixed when it is decorated, or taken from each call's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ninesight.errors import ConfigError
from ninesight.labels import check_label_names
from ninesight.registry import Registry
from ninesight.slots import Buffers, Point

__all__ = ["Target", "Told", "check_told"]

Told = str | Callable[..., Any]
"""A name, or a function of the call's arguments that returns one."""


class Target:
    """Finds the point of each call. A function that raises is counted, and the call goes under the default."""

    __slots__ = ("_buffers", "_each", "_labels", "_model", "_name", "_registry", "_version", "fixed")

    def __init__(
        self,
        registry: Registry,
        buffers: Buffers,
        *,
        model: Told,
        version: Told,
        labels: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None,
        each: int,
        name: str,
    ) -> None:
        if labels is not None and not callable(labels):
            check_label_names(labels, "labels")
        self._registry = registry
        self._buffers = buffers
        self._model = model
        self._version = version
        self._labels = labels
        self._each = each
        self._name = name
        told = tuple(labels.values()) if isinstance(labels, Mapping) else (labels,)
        self.fixed: Point | None = None
        """The one point of all calls, where nothing depends on their arguments."""
        if not any(map(callable, (model, version, *told))):
            self.fixed = self.of((), {})

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Point:
        """Return the point of a call with these arguments."""
        if self.fixed is not None:
            return self.fixed
        model = self._ask(self._model, self._name, args, kwargs)
        version = self._ask(self._version, "1", args, kwargs)
        series = self._registry.series(model, version, self._ask_labels(args, kwargs))
        return self._buffers.point(series, self._each)

    def _ask(self, told: Any, otherwise: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not callable(told):
            return told
        try:
            found = told(*args, **kwargs)
        except Exception as error:
            self._registry.faults.internal("a function of the call's arguments", error)
            return otherwise
        return otherwise if found is None else found

    def _ask_labels(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
        labels = self._labels
        if callable(labels):
            labels = self._ask(labels, None, args, kwargs)
        if not labels:
            return ()
        if not isinstance(labels, Mapping):
            self._registry.faults.refuse("labels must be a mapping of names to values", labels, "left out")
            return ()
        return tuple((name, self._ask(value, "", args, kwargs)) for name, value in labels.items())


def check_told(what: str, told: object) -> None:
    """Raise ConfigError for what is neither a name nor a function."""
    if told is not None and not callable(told) and not isinstance(told, str | int | float):
        raise ConfigError(
            f"{what} must be a name or a function of the call's arguments, got {told!r}; write {what}='...'"
        )
