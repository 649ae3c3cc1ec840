"""Labels of the user's own on a call, under a budget: a tenant id cannot fill anybody's memory.

Each name may take `values_max` different values; a further one becomes `__other__` and is counted.
Nothing here locks: two threads may let a value more through than the budget says, never many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ninesight.checks import clean
from ninesight.contract import OTHER, Labels
from ninesight.errors import ConfigError
from ninesight.faults import Faults

__all__ = ["RESERVED", "LabelBudget", "check_label_names", "usable_label"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")

RESERVED = frozenset(
    ("model", "version", "job", "instance", "outcome", "served_by", "stage", "gpu", "basis", "direction")
) | {"cache", "result", "le", "quantile"}
"""Names that the canonical series use themselves."""

_NAMES_MAX = 16


def usable_label(name: object, reserved: Iterable[str] = RESERVED) -> bool:
    """True for a name that a label of the user's may have."""
    return (
        isinstance(name, str)
        and bool(_LABEL.match(name))
        and not name.startswith("__")
        and name not in reserved
    )


def check_label_names(names: Iterable[str], what: str) -> None:
    """Raise ConfigError unless all names may be labels of the user's, at most 16."""
    given = list(names)
    wrong = [str(name) for name in given if not usable_label(name)]
    if wrong or len(given) > _NAMES_MAX:
        raise ConfigError(
            f"{what} must be at most {_NAMES_MAX} names of letters, digits and _, none of "
            f"{', '.join(sorted(RESERVED))}; got {', '.join(wrong) or len(given)}; rename or leave out"
        )


class LabelBudget:
    """Turns what a request says into labels that may be stored."""

    __slots__ = ("_faults", "_values", "values_max")

    def __init__(self, faults: Faults, values_max: int) -> None:
        self._faults = faults
        self.values_max = values_max
        self._values: dict[str, set[str]] = {}

    def clear(self) -> None:
        """Forget which values were seen."""
        self._values.clear()

    def fit(self, given: Mapping[str, object] | Iterable[tuple[str, object]]) -> Labels:
        """Return the labels, sorted by name; values beyond the budget as `__other__`, wrong names left out."""
        pairs = given.items() if isinstance(given, Mapping) else given
        found = []
        for name, value in pairs:
            if not usable_label(name):
                self._faults.refuse("a label must be a name that no series uses itself", name, "left out")
                continue
            fitted = self.value(name, value)
            if fitted is not None:
                found.append((name, fitted))
        return tuple(sorted(found))

    def value(self, name: str, value: object) -> str | None:
        """Return the value of one label, `__other__` beyond the budget; None for one name too many."""
        text = clean(value)
        seen = self._values.get(name)
        if seen is None:
            if len(self._values) >= _NAMES_MAX:
                self._faults.exceed("label names", _NAMES_MAX)
                return None
            seen = self._values.setdefault(name, set())
        if text in seen or text == OTHER:
            return text
        if len(seen) >= self.values_max:
            self._faults.exceed(f"values of label {name}", self.values_max)
            return OTHER
        seen.add(text)
        return text
