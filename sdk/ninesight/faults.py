"""What went wrong inside the SDK: counted always, told once, never raised into a request."""

from __future__ import annotations

from typing import Any

from ninesight.forks import importing
from ninesight.pickled import shared

__all__ = ["Faults"]


class Faults:
    """Counters of the SDK's own troubles. Increments may come from any thread and are told approximately."""

    __slots__ = ("_told", "internal_errors", "invalid", "over_budget")

    def __init__(self) -> None:
        self.internal_errors = 0
        self.invalid = 0
        self.over_budget = 0
        self._told: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return shared, ("faults",)

    def clear(self) -> None:
        """Count from zero; what was told stays told."""
        self.internal_errors = 0
        self.invalid = 0
        self.over_budget = 0

    def internal(self, place: str, error: BaseException) -> None:
        """Count an error of the SDK or of a callable it was given; log the first of each place."""
        self.internal_errors += 1
        self.tell(f"{place} {type(error).__name__}", "%s: %s: %s", place, type(error).__name__, error)

    def refuse(self, what: str, given: object, way_out: str) -> None:
        """Count a value that was not taken; log the first of each kind."""
        self.invalid += 1
        self.tell(what, "%s, got %.200r; %s", what, given, way_out)

    def pass_over(self, what: str, error: Exception) -> None:
        """Count a setting that was not taken; log it with the words of its error."""
        self.invalid += 1
        self.tell(f"{what} {error}", "%s was passed over: %s", what, error)

    def exceed(self, what: str, limit: int) -> None:
        """Count a label value beyond its budget; log the first of each kind."""
        self.over_budget += 1
        self.tell(what, "more than %d different %s; further ones are counted as __other__", limit, what)

    def tell(self, once: str, message: str, *facts: object) -> None:
        """Log a warning the first time `once` is seen. At most 1,000 kinds are remembered."""
        if once in self._told or len(self._told) >= 1000:
            return
        self._told.add(once)
        with importing():
            import logging

        logging.getLogger("ninesight").warning(message, *facts)
