"""`Pattern`: an RE2 pattern ready to match whole values, in bounded time.

Python's `re` is quick but tries one way after another, while all threads of the process wait. It is
asked only where it has few ways to try for a value of that length; otherwise the automaton answers,
which looks at each character once. Both give the same answer.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ninesight_store.automaton import Automaton, PatternCostError
from ninesight_store.pattern_tree import parse_tree, ways
from ninesight_store.regex import RegexError, translate

__all__ = ["BACKTRACKS_MAX", "Pattern", "PatternCostError", "pattern_of"]

BACKTRACKS_MAX = 100_000
"""Characters that `re` may look at for one value, about a millisecond."""


class Pattern:
    """One pattern. Immutable for its users; safe to share between threads."""

    def __init__(self, text: str, *, captures: bool = False) -> None:
        """Compile. Raises RegexError for what RE2 would refuse, PatternCostError for what needs too much."""
        translated = translate(text, captures=captures)
        try:
            tree = parse_tree(translated)
            self._ways = ways(tree)
            self._automaton = Automaton(tree)
            self._quick = re.compile(translated)
        except (re.error, OverflowError, RecursionError) as error:
            raise RegexError(str(error)) from error
        self._names = self._quick.groupindex
        self.groups = self._quick.groups

    def accepts(self, value: str) -> bool:
        """Return whether the whole value matches. Raises PatternCostError."""
        if self._is_quick(len(value)):
            return self._quick.fullmatch(value) is not None
        return self._automaton.accepts(value)

    def captured(self, value: str) -> dict[int | str, str] | None:
        """Return the text of each group by number and by name, 0 the whole; None without a match.

        A group that took no part is missing. Raises PatternCostError.
        """
        spans: dict[int, tuple[int, int]] | None
        if self._is_quick(len(value)):
            match = self._quick.fullmatch(value)
            spans = None if match is None else {n: match.span(n) for n in range(self.groups + 1)}
        else:
            spans = self._automaton.groups(value)
        if spans is None:
            return None
        found: dict[int | str, str] = {n: value[low:high] for n, (low, high) in spans.items() if low >= 0}
        return found | {name: found[n] for name, n in self._names.items() if n in found}

    def _is_quick(self, length: int) -> bool:
        return self._ways is not None and self._ways.over(length) * (length + 1) <= BACKTRACKS_MAX


@lru_cache(maxsize=256)
def pattern_of(text: str, *, captures: bool = False) -> Pattern:
    """Return a compiled pattern, from the last 256 if it is one of them. Raises as `Pattern`."""
    return Pattern(text, captures=captures)
