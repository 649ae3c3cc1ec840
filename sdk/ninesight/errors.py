"""What the SDK may raise. Only set-up code sees these; a request never does.

NinesightError
|- ConfigError      a setting, an environment variable or a decorator argument is wrong
`- ExportError      an exporter could not deliver (raised to the export thread, counted there)
   |- RetryableError   the same data may be sent again
   `- PermanentError   the receiver will never take it
"""

from __future__ import annotations

__all__ = ["ConfigError", "ExportError", "NinesightError", "PermanentError", "RetryableError"]


class NinesightError(Exception):
    """Base of every error of the SDK."""


class ConfigError(NinesightError, ValueError):
    """A setting is wrong; the message says what must hold, what was given and the way out."""


class ExportError(NinesightError):
    """An export was not taken by the receiver."""


class RetryableError(ExportError):
    """The receiver is away or busy; the next export carries the same totals."""


class PermanentError(ExportError):
    """The receiver refuses this data and will go on refusing it."""
