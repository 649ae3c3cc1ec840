"""Which totals a call goes to: one `ModelSeries` for each model version and set of own labels, all budgeted.

A model name, a version or a label may come from a request. Beyond `models_max` a model becomes
`__other__`, beyond `label_values_max` a label's value does, beyond `label_sets_max` all of a call's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sized
from math import inf
from typing import Any

from ninesight.checks import TEXT_MAX, clean
from ninesight.config import SdkConfig
from ninesight.contract import OTHER, Labels
from ninesight.faults import Faults
from ninesight.labels import LabelBudget
from ninesight.pickled import shared
from ninesight.series import ModelSeries
from ninesight.slots import Buffers

__all__ = ["Registry"]

_OTHER = (OTHER, OTHER)
_SHORTCUTS_MAX = 10_000

Key = tuple[str, str, Labels]


def _small(*values: object) -> bool:
    """True for values that may be remembered as they were said: a request may say a megabyte where a name should be."""
    return all(
        len(value) <= TEXT_MAX if isinstance(value, str) else not isinstance(value, Sized) for value in values
    )


class Registry:
    """Finds and makes series. Finding is free of locks; making takes one, once a series."""

    def __init__(self, buffers: Buffers, faults: Faults, config: Callable[[], SdkConfig]) -> None:
        self._buffers = buffers
        self.faults = faults
        self._config = config
        self._lock = threading.Lock()
        self._series: dict[Key, ModelSeries] = {}
        self._shortcuts: dict[Any, ModelSeries] = {}
        self._models: set[tuple[str, str]] = set()
        self._label_sets = 0
        self._slow_s = inf
        self.labels = LabelBudget(faults, SdkConfig.label_values_max)

    def __reduce__(self) -> tuple[Any, ...]:
        return shared, ("registry",)

    @property
    def slow_s(self) -> float:
        """Duration from which a call is a candidate for a trace, as series begin with: 0 while traces are on."""
        return self._slow_s

    @slow_s.setter
    def slow_s(self, slow_s: float) -> None:
        self._slow_s = slow_s
        for series in self.known():
            series.slow_s = slow_s

    def known(self) -> list[ModelSeries]:
        """Return all series, in the order they came."""
        return list(self._series.values())

    def series(self, model: str, version: str, labels: tuple[tuple[str, object], ...] = ()) -> ModelSeries:
        """Return the totals of a model version and its labels, as a call says them, made on first use."""
        said: Any = (model, version, labels)
        try:
            found = self._shortcuts.get(said)
        except (
            Exception
        ):  # A list where a name should be, from a request perhaps: its text is looked up each time.
            found, said = None, None
        if found is not None:
            return found
        config = self._config()
        self.labels.values_max = config.label_values_max
        key = (clean(model), clean(version), self.labels.fit(labels))
        with self._lock:
            found = self._make(key, config)
            # What is over a budget is not remembered: each time is counted, and there is no end of it.
            exact = found.labels == (("model", key[0]), ("version", key[1]), *key[2])
            exact = exact and all(value != OTHER for _, value in key[2])
            small = said is not None and _small(model, version, *(value for _, value in labels))
            if exact and small and len(self._shortcuts) < _SHORTCUTS_MAX:
                self._shortcuts[said] = found
        return found

    def relabel(
        self, series: ModelSeries, labels: Mapping[str, object], model: tuple[str, str] | None
    ) -> ModelSeries:
        """Return the series with more labels or others in their place, and of another model if one is given."""
        told = {**dict(series.labels[2:]), **labels}
        name, version = (series.model, series.version) if model is None else model
        return self.series(name, version, tuple(told.items()))

    def after_fork(self) -> None:
        """Make the child's own lock, and its counts zero."""
        self._lock = threading.Lock()
        for series in self.known():
            series.clear()

    def reset(self) -> None:
        """Zero counts, gauges and what was seen of label values. For tests."""
        self.labels.clear()
        self._shortcuts.clear()
        self._label_sets = 0
        for series in self.known():
            series.clear()
            series.forget_gauges()

    def _make(self, key: Key, config: SdkConfig) -> ModelSeries:
        found = self._series.get(key)
        if found is not None:
            return found
        model, version, labels = key
        if (model, version) not in self._models:
            if len(self._models - {_OTHER}) >= config.models_max:
                self.faults.exceed("model versions", config.models_max)
                model, version = _OTHER
            self._models.add((model, version))
        if labels:
            if self._label_sets >= config.label_sets_max:
                self.faults.exceed("sets of labels", config.label_sets_max)
                labels = tuple((name, OTHER) for name, _ in labels)
            else:
                self._label_sets += 1
        key = (model, version, labels)
        if key not in self._series:
            self._series[key] = ModelSeries(
                model,
                version,
                labels,
                bounds=config.buckets,
                buckets_max=config.histogram_buckets_max,
                stages_max=config.stages_max,
                buffers=self._buffers,
                faults=self.faults,
            )
            self._series[key].slow_s = self._slow_s
        return self._series[key]
