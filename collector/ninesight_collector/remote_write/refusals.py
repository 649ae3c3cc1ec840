"""What of a request was refused: counted by reason, the first of each named."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["LabelsError", "Refusals"]

_REASONS_SHOWN = 5


class LabelsError(ValueError):
    """One series cannot be taken; the rest of the request can. `reason` is the counter's label."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class Refusals:
    """Samples refused, by reason, with the first message of each."""

    counts: dict[str, int] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    exemplars_left_out: int = 0
    """Never a reason to refuse anything."""

    def add(self, reason: str, message: str, samples: int = 1) -> None:
        """Count refused samples; a series without any counts with 0, and is named all the same."""
        self.counts[reason] = self.counts.get(reason, 0) + samples
        self.messages.setdefault(reason, message)

    def __bool__(self) -> bool:
        return bool(self.messages)

    def text(self) -> str:
        """Return one sentence per reason, the most frequent first."""
        ordered = sorted(self.counts, key=lambda reason: -self.counts[reason])[:_REASONS_SHOWN]
        return "; ".join(f"{self.counts[reason]} refused: {self.messages[reason]}" for reason in ordered)
