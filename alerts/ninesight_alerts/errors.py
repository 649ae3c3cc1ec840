"""What alerts may raise.

AlertsError
|- RuleError        a rule file cannot be used; the message names file, group, rule and key
|- ReceiverError    a receiver's configuration is wrong or its target is not allowed
|- RetryableError   a delivery may succeed if tried again
`- PermanentError   a delivery never will; it goes to the dead letters
"""

from __future__ import annotations

__all__ = ["AlertsError", "PermanentError", "ReceiverError", "RetryableError", "RuleError"]


class AlertsError(Exception):
    """Base of every error of this part."""


class RuleError(AlertsError):
    """A rule file, group or rule is not valid."""


class ReceiverError(AlertsError):
    """A receiver's configuration is not valid, or its target is not allowed."""


class RetryableError(AlertsError):
    """This attempt failed; a later one may succeed."""


class PermanentError(AlertsError):
    """This notification can never be delivered as it is."""
