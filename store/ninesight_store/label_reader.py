"""Reading many stored labels: equal pairs become one object, and texts without escapes need no parser."""

from __future__ import annotations

from ninesight_store.contract import Labels
from ninesight_store.series_index import labels_from_text

__all__ = ["LabelReader"]


class LabelReader:
    """Reads stored labels; equal pairs become one object, for as long as the reader lives."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}

    def read(self, text: str) -> Labels:
        """Return the labels of a stored text. Raises ValueError or TypeError if it is damaged."""
        if "\\" in text or text[:3] != '[["' or text[-3:] != '"]]':
            return tuple(map(self.shared, labels_from_text(text)))
        # Without escapes a quote ends a string, so the text falls apart at `"],["` and nowhere else.
        pairs = self._pairs
        try:
            return tuple([pairs[part] for part in text[3:-3].split('"],["')])
        except KeyError:
            return tuple(map(self.shared, labels_from_text(text)))

    def shared(self, pair: tuple[str, str]) -> tuple[str, str]:
        """Return the one object of this pair."""
        name, value = pair
        part = f'{name}","{value}'
        if '"' in name or '"' in value:
            return pair
        return self._pairs.setdefault(part, pair)
