"""What the notation reader raises."""

from __future__ import annotations

__all__ = ["NotationError"]


class NotationError(ValueError):
    """A line does not follow the notation. `line` counts from 1; 0 where no file is involved."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.bare = message
        self.line = line
