"""Selectors asked of label sets that are in no store: `match[]` of the rules.

LabelFilter.of(['{severity="page"}', '{team=~"a|b"}']).takes({"severity": "page"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ninesight_store.errors import MatcherError
from ninesight_store.matchers import CompiledMatcher, compile_matchers, labels_match

from ninesight_query.errors import ParseError
from ninesight_query.parse import parse_selector

__all__ = ["LabelFilter"]

_SELECTORS_MAX = 200


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Takes what any of its selectors matches; without a selector, everything."""

    selectors: Sequence[tuple[CompiledMatcher, ...]] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Read selectors, at most 200. Raises ParseError."""
        found = list(texts)
        if len(found) > _SELECTORS_MAX:
            raise ParseError(
                f"there may be at most {_SELECTORS_MAX} selectors, got {len(found)}; "
                "join them as one with a regular expression"
            )
        try:
            return cls([compile_matchers(parse_selector(text)) for text in found])
        except MatcherError as error:
            raise ParseError(str(error)) from error

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Say whether a label set is wanted; a missing label is the empty one."""
        pairs = tuple(sorted(labels.items()))
        return not self.selectors or any(labels_match(each, pairs) for each in self.selectors)
