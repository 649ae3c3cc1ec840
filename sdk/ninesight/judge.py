"""What a result or an exception says about a call: its outcome, how many predictions and tokens it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ninesight.calls import Call
from ninesight.checks import whole
from ninesight.errors import ConfigError
from ninesight.faults import Faults
from ninesight.outcomes import checked_outcomes

__all__ = ["Judge"]


class Judge:
    """The user's functions of a result, asked safely: what they raise is counted and passed over."""

    __slots__ = ("_outcome", "counting", "each", "faults", "outcomes", "plain", "predictions", "tokens")

    def __init__(
        self,
        faults: Faults,
        *,
        predictions: int | Callable[[Any], int] | None = None,
        outcome: Callable[[Any, BaseException | None], str | None] | None = None,
        outcomes: Mapping[type[BaseException], str] | None = None,
        tokens: Callable[[Any], Any] | None = None,
    ) -> None:
        self.predictions: Callable[[Any], int] | None = None
        """The user's function of a result: how much it predicts."""
        self.each = 1
        """Predictions of an ok call, where the result does not say."""
        if callable(predictions):
            self.predictions = predictions
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
        if tokens is not None and not callable(tokens):
            raise ConfigError(
                f"tokens must be a function of a result or yielded item, got {tokens!r}; "
                "write e.g. tokens=ninesight.openai_usage"
            )
        self._outcome = outcome
        self.faults = faults
        self.tokens = tokens
        """The user's function of a result or a yielded item: a number of tokens, or {input, output, cached}."""
        self.outcomes = checked_outcomes(outcomes)
        """Exceptions named for this function alone."""
        self.plain = self.predictions is None and outcome is None and tokens is None
        """True when a call can be recorded without looking at its result."""
        self.counting = outcome is None and tokens is None
        """True when a result tells predictions at most."""

    def answered(self, call: Call, result: Any, *, streamed: bool = False) -> None:
        """End a call that returned."""
        if not self.plain:
            if self._outcome is not None:
                self._ask_outcome(call, result, None)
            if self.predictions is not None:
                count = self.count(result, -1)
                if count >= 0:
                    call.predictions(count)
            if self.tokens is not None and not streamed:
                self._take_tokens(call, self.read(result))
        call.end()

    def failed(self, call: Call, error: BaseException) -> None:
        """End a call that raised."""
        self.raised(call, error)
        call.end(error)

    def raised(self, call: Call, error: BaseException) -> None:
        """Tell a call how it ends, where the user says what the exception stands for."""
        if self._outcome is not None:
            self._ask_outcome(call, None, error)
        if self.outcomes and not call.judged:
            call.outcome(call.series.buffers.outcomes.of(error, self.outcomes))

    def count(self, result: Any, otherwise: int) -> int:
        """Ask the user's function for the predictions of a result; where it raises or gives no number, the other one."""
        assert self.predictions is not None, "asked only where there is a function"
        try:
            found = self.predictions(result)
        except Exception as error:
            return self.unknown(error, otherwise)
        return found if type(found) is int and found >= 0 else self.checked(found, otherwise)

    def unknown(self, error: Exception, otherwise: int) -> int:
        """Count that the user's function raised; return the other number."""
        self.faults.internal("the predictions callable", error)
        return otherwise

    def checked(self, found: object, otherwise: int) -> int:
        """Return what the user's function said as a number of predictions; where it is none, the other one."""
        count = whole(found)
        if count is None:
            self.faults.refuse("predictions must be an int of at least 0", found, "ignored")
            return otherwise
        return count

    def read(self, item: Any) -> Any:
        """Ask the user's function for the tokens of a result or item; None where it raises or knows nothing."""
        assert self.tokens is not None, "asked only where there is a function"
        try:
            return self.tokens(item)
        except Exception as error:
            self.faults.internal("the tokens callable", error)
            return None

    def _take_tokens(self, call: Call, told: Any) -> None:
        if isinstance(told, Mapping):
            call.pace.usage(told)
        elif told is not None:
            call.tokens(output=told)

    def _ask_outcome(self, call: Call, result: Any, error: BaseException | None) -> None:
        if self._outcome is None:
            return
        try:
            outcome = self._outcome(result, error)
            if outcome is not None:
                call.outcome(outcome)
        except Exception as trouble:
            self.faults.internal("the outcome callable", trouble)
