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

from typing import NamedTuple

__all__ = [
    "Amount",
    "FullError",
    "LateError",
    "MatcherError",
    "PermanentError",
    "RetryableError",
    "StoreError",
    "StoreFormatError",
]


class Amount(NamedTuple):
    """How much of a batch, by kind."""

    samples: int
    """Float samples."""
    points: int
    """Native histograms."""
    exemplars: int


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
    """What was older than `oldest_ms` was refused; everything else of the batch is on the disk.

    A sample of the batch is among the refused ones if, and only if, its timestamp is below `oldest_ms`. Exemplars
    are never a reason to refuse: those that went with the others are told in `late`, not counted in `refused`.
    """

    def __init__(self, message: str, *, late: Amount, fresh: Amount, oldest_ms: int) -> None:
        super().__init__(message, refused=late.samples + late.points)
        self.late, self.fresh, self.oldest_ms = late, fresh, oldest_ms

    @property
    def kept(self) -> int:
        """Samples and points that are on the disk."""
        return self.fresh.samples + self.fresh.points


class MatcherError(StoreError):
    """A matcher cannot be evaluated; the message quotes its pattern."""


class StoreFormatError(StoreError):
    """The database holds no ninesight store, or one written by a newer version."""
