"""Label matchers, compiled once and asked often.

`compile_matchers` turns contract `Matcher`s into `CompiledMatcher`s. A regular expression matches the
whole value, with RE2's meaning (regex.py); the shapes people really write (`a|b|c`, `.*`, `.+`,
`prefix.*`, `.*suffix`, `.*part.*`) need no regular expression at all; others take bounded time
(pattern.py). A missing label has the value "".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ninesight_store.contract import Labels, Matcher, MatchOp
from ninesight_store.errors import MatcherError
from ninesight_store.pattern import Pattern, PatternCostError
from ninesight_store.regex import RegexError

__all__ = ["CompiledMatcher", "compile_matcher", "compile_matchers", "labels_match"]

_META = frozenset("\\.+*?()|[]{}^$")


@dataclass(frozen=True)
class CompiledMatcher:
    """One condition on one label. Immutable; safe to share between threads."""

    name: str
    negated: bool
    """True for != and !~: `values` and `test` then say which values are refused."""
    values: frozenset[str] | None
    """The exact values that the pattern accepts, where they can be listed; else None."""
    test: Callable[[str], bool]
    """Whether the pattern accepts a value (before `negated`)."""

    def accepts(self, value: str) -> bool:
        """Return whether a series with this value of the label fulfils the condition."""
        return self.test(value) is not self.negated

    @property
    def accepts_missing(self) -> bool:
        """Return whether a series without the label fulfils the condition."""
        return self.accepts("")


def compile_matchers(matchers: Iterable[Matcher]) -> tuple[CompiledMatcher, ...]:
    """Compile all. Raises MatcherError that quotes the first bad pattern."""
    return tuple(compile_matcher(matcher) for matcher in matchers)


@lru_cache(maxsize=1024)
def compile_matcher(matcher: Matcher) -> CompiledMatcher:
    """Compile one. Raises MatcherError."""
    negated = matcher.op in (MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX)
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        values = frozenset((matcher.value,))
        return CompiledMatcher(matcher.name, negated, values, values.__contains__)
    found = _literals(matcher.value)
    if found is not None:
        return CompiledMatcher(matcher.name, negated, found, found.__contains__)
    test = _simple(matcher.value) or _general(matcher)
    return CompiledMatcher(matcher.name, negated, None, test)


def labels_match(compiled: Sequence[CompiledMatcher], labels: Labels) -> bool:
    """Return whether a series fulfils all conditions."""
    if not compiled:
        return True
    pairs = dict(labels)
    return all(matcher.accepts(pairs.get(matcher.name, "")) for matcher in compiled)


def _unescaped(text: str) -> str | None:
    """Return the text that a pattern without operators stands for, None if it has operators."""
    out: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
            char = text[position : position + 1]
            if not char.isascii() or char.isalnum() or not char:
                return None
        elif char in _META:
            return None
        out.append(char)
        position += 1
    return "".join(out)


def _literals(pattern: str) -> frozenset[str] | None:
    """Return the values of `a|b|c`, `(a|b|c)` or `(?:a|b|c)`; None for anything else."""
    inner = pattern
    if inner.startswith("(") and inner.endswith(")") and not inner.endswith("\\)"):
        inner = inner[3:-1] if inner.startswith("(?:") else inner[1:-1]
    parts = inner.split("|")
    if any(part.endswith("\\") for part in parts[:-1]):
        return None
    values = [_unescaped(part) for part in parts]
    kept = frozenset(value for value in values if value is not None)
    return kept if None not in values else None


def _simple(pattern: str) -> Callable[[str], bool] | None:
    """Return a test without a regular expression for the wildcard shapes; None for anything else."""
    if pattern == ".*":
        return _anything
    if pattern == ".+":
        return bool
    if pattern[-2:] in (".*", ".+") and (prefix := _unescaped(pattern[:-2])):
        least = len(prefix) + (pattern[-1] == "+")
        return lambda value: value.startswith(prefix) and len(value) >= least
    if pattern[:2] in (".*", ".+") and (suffix := _unescaped(pattern[2:])):
        least = len(suffix) + (pattern[1] == "+")
        return lambda value: value.endswith(suffix) and len(value) >= least
    if pattern[:2] == pattern[-2:] == ".*" and (part := _unescaped(pattern[2:-2])):
        return lambda value: part in value
    return None


def _anything(_value: str) -> bool:
    return True


def _general(matcher: Matcher) -> Callable[[str], bool]:
    shown = matcher.value if len(matcher.value) <= 200 else matcher.value[:200] + "..."
    place = f'the pattern of {matcher.name}{matcher.op.value}"{shown}"'
    try:
        accepts = Pattern(matcher.value).accepts
    except (RegexError, PatternCostError) as error:
        raise MatcherError(f"{place} must be an RE2 regular expression: {error}") from error

    def test(value: str) -> bool:
        try:
            return accepts(value)
        except PatternCostError as error:
            raise MatcherError(f"{place} takes too long: {error}") from error

    return test
