"""What analytics may raise.

AnalyticsError
|- PriceBookError   a price book cannot be read; the message names the key
|- SlaError         an SLA document cannot be read; the message names the key
`- WindowError      a window is empty or reversed
"""

from __future__ import annotations

__all__ = ["AnalyticsError", "PriceBookError", "SlaError", "WindowError"]


class AnalyticsError(Exception):
    """Base of every error of this part. Query errors of the engine pass through unchanged."""


class PriceBookError(AnalyticsError):
    """The price book is not valid."""


class SlaError(AnalyticsError):
    """The SLA document is not valid."""


class WindowError(AnalyticsError):
    """The window must end after it starts."""
