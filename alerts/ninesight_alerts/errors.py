"""What alerts may raise.

AlertsError
|- RuleError        a rule file cannot be used; the message names file, group, rule and key
|- EvaluationError  a rule's expression gave what a rule cannot use; its alerts keep their state
|- TemplateError    a label or annotation template cannot be read or filled; it becomes text, never a lost alert
|- ReceiverError    a receiver's configuration is wrong
|  `- TargetError   its address is one that must not be reached
|- RetryableError   a delivery may succeed if tried again
`- PermanentError   a delivery never will; it goes to the dead letters
"""

from __future__ import annotations

__all__ = [
    "AlertsError",
    "EvaluationError",
    "PermanentError",
    "ReceiverError",
    "RetryableError",
    "RuleError",
    "TargetError",
    "TemplateError",
]


class AlertsError(Exception):
    """Base of every error of this part."""


class RuleError(AlertsError):
    """A rule file, group or rule is not valid."""


class EvaluationError(AlertsError):
    """A rule's expression gave something that is no vector, is too large, or has two equal elements."""


class TemplateError(AlertsError):
    """A template cannot be read, or asks for what its data does not hold."""


class ReceiverError(AlertsError):
    """A receiver's configuration is not valid, or its target is not allowed."""


class TargetError(ReceiverError):
    """The receiver's address is refused."""


class RetryableError(AlertsError):
    """This attempt failed; a later one may succeed, not before `retry_after_s` if that is set."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(AlertsError):
    """This notification can never be delivered as it is."""
