"""What the store may raise.

StoreError
|- RetryableError    nothing of the batch was kept; send the same batch again
|  `- FullError      the database has reached its bound, and nothing old was left to drop
|- PermanentError    this batch will never be accepted; the message says why
|  `- LateError      samples older than the window were refused; the others of the batch were kept
|- MatcherError      a selector cannot be read (bad regular expression)
`- StoreFormatError  the file is not ours, or newer than this code
"""

from __future__ import annotations

__all__ = [
    "FullError",
    "LateError",
    "MatcherError",
    "PermanentError",
    "RetryableError",
    "StoreError",
    "StoreFormatError",
]


class StoreError(Exception):
    """Base of every error of this part."""


class RetryableError(StoreError):
    """The batch was not kept, and the same batch may be sent again."""


class FullError(RetryableError):
    """The database may not grow any more, and nothing older than the newest hour was left to drop."""


class PermanentError(StoreError):
    """The batch, or the `refused` samples of it, were not kept and never will be."""

    def __init__(self, message: str, *, refused: int = 0) -> None:
        super().__init__(message)
        self.refused = refused


class LateError(PermanentError):
    """`refused` samples were older than the window; `kept` others of the batch are on the disk."""

    def __init__(self, message: str, *, refused: int, kept: int) -> None:
        super().__init__(message, refused=refused)
        self.kept = kept


class MatcherError(StoreError):
    """A matcher cannot be evaluated; the message quotes its pattern."""


class StoreFormatError(StoreError):
    """The database holds no ninesight store, or one written by a newer version."""
