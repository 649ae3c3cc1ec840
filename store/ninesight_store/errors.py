"""What the store may raise.

StoreError
|- RetryableError    nothing of the batch was kept; send the same batch again
|- PermanentError    this batch will never be accepted; the message says why
|- MatcherError      a selector cannot be read (bad regular expression)
`- StoreFormatError  the file is not ours, or newer than this code
"""

from __future__ import annotations

__all__ = ["MatcherError", "PermanentError", "RetryableError", "StoreError", "StoreFormatError"]


class StoreError(Exception):
    """Base of every error of this part."""


class RetryableError(StoreError):
    """The batch was not kept, and the same batch may be sent again."""


class PermanentError(StoreError):
    """The batch was not kept and never will be; `refused` counts its samples."""

    def __init__(self, message: str, *, refused: int = 0) -> None:
        super().__init__(message)
        self.refused = refused


class MatcherError(StoreError):
    """A matcher cannot be evaluated; the message quotes its pattern."""


class StoreFormatError(StoreError):
    """The database holds no ninesight store, or one written by a newer version."""
