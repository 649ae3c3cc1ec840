"""What a result or an exception says about a call: its outcome, and how many predictions it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ninesight.calls import Call
from ninesight.errors import ConfigError
from ninesight.faults import Faults

__all__ = ["Judge"]


class Judge:
    """The user's `predictions` and `outcome`, asked safely: what they raise is counted and passed over."""

    __slots__ = ("_faults", "_outcome", "_predictions", "each", "plain")

    def __init__(
        self,
        predictions: int | Callable[[Any], int] | None,
        outcome: Callable[[Any, BaseException | None], str | None] | None,
        faults: Faults,
    ) -> None:
        self._predictions: Callable[[Any], int] | None = None
        self.each = 1
        """Predictions of an ok call, where the result does not say."""
        if callable(predictions):
            self._predictions = predictions
        elif isinstance(predictions, int) and not isinstance(predictions, bool) and predictions >= 0:
            self.each = predictions
        elif predictions is not None:
            raise ConfigError(
                f"predictions must be an int of at least 0 or a function of the result, got {predictions!r}; "
                "leave it out to count one prediction a call"
            )
        if outcome is not None and not callable(outcome):
            raise ConfigError(
                f"outcome must be a function of (result, exception), got {outcome!r}; "
                "leave it out to tell outcomes by exception type"
            )
        self._outcome = outcome
        self._faults = faults
        self.plain = self._predictions is None and outcome is None
        """True when a call can be recorded without looking at its result."""

    def answered(self, call: Call, result: Any) -> None:
        """End a call that returned."""
        if not self.plain:
            self._ask_outcome(call, result, None)
            if self._predictions is not None:
                try:
                    call.set_predictions(self._predictions(result))
                except Exception as error:
                    self._faults.internal("the predictions callable", error)
        call.end()

    def failed(self, call: Call, error: BaseException) -> None:
        """End a call that raised."""
        if self._outcome is not None:
            self._ask_outcome(call, None, error)
        call.end(error)

    def _ask_outcome(self, call: Call, result: Any, error: BaseException | None) -> None:
        if self._outcome is None:
            return
        try:
            outcome = self._outcome(result, error)
            if outcome is not None:
                call.set_outcome(outcome)
        except Exception as trouble:
            self._faults.internal("the outcome callable", trouble)
