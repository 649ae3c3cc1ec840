"""Reading many stored labels straight into numbers of pairs: texts without escapes need no parser."""

from __future__ import annotations

from ninesight_store.contract import Labels
from ninesight_store.pair_table import PairTable
from ninesight_store.stored_labels import labels_from_text

__all__ = ["LabelReader"]


class LabelReader:
    """Reads stored labels; a pair that was read before is found by its text."""

    def __init__(self, pairs: PairTable) -> None:
        self._pairs = pairs
        self._known: dict[str, int] = {}

    def read(self, text: str) -> list[int]:
        """Return the numbers of the pairs of a stored text. Raises ValueError or TypeError if it is damaged."""
        if "\\" in text or text[:3] != '[["' or text[-3:] != '"]]':
            labels = labels_from_text(text)
            if not labels:
                raise ValueError("a series must have a label")
            return self._pairs.numbers(labels)
        # Without escapes a quote ends a string, so the text falls apart at `"],["` and nowhere else.
        known = self._known
        try:
            return [known[part] for part in text[3:-3].split('"],["')]
        except KeyError:
            return self._parsed(text)

    def numbers(self, labels: Labels) -> list[int]:
        """Return the numbers of the pairs of these labels."""
        return self._pairs.numbers(labels)

    def _parsed(self, text: str) -> list[int]:
        labels = labels_from_text(text)
        numbers = self._pairs.numbers(labels)
        for (name, value), number in zip(labels, numbers, strict=True):
            if '"' not in name and '"' not in value:
                self._known[f'{name}","{value}'] = number
        return numbers
