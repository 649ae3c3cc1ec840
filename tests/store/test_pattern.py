"""Patterns take bounded time and mean the same on both engines."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ninesight_store import Matcher, MatchOp
from ninesight_store.automaton import Automaton
from ninesight_store.errors import MatcherError
from ninesight_store.matchers import compile_matcher
from ninesight_store.pattern import Pattern, PatternCostError
from ninesight_store.pattern_tree import parse_tree
from ninesight_store.regex import RegexError, translate

ATOMS = [
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    "\\w",
    "\\W",
    "^",
    "$",
    "\\b",
    "\\B",
    "(?i:A)",
    "(?-s:.)",
    "\\.",
    "é",
    "",
]


def _patterns() -> st.SearchStrategy[str]:
    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        joined = st.lists(inner, min_size=1, max_size=3)
        repeat = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{1,}"])
        return st.one_of(
            joined.map("".join),
            joined.map(lambda parts: f"(?:{'|'.join(parts)})"),
            inner.map(lambda part: f"({part})"),
            st.tuples(inner, repeat).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        )

    return st.recursive(st.sampled_from(ATOMS), grown, max_leaves=7)


VALUES = st.text("abA .\né", max_size=7)


@settings(max_examples=400, deadline=None)
@given(_patterns(), VALUES)
@example("(?:(a)|(?:ab))(c|bcd)(d*)", "abcd")
@example("(?m:^a$\n?)+", "a\na")
def test_the_automaton_accepts_what_python_accepts(pattern: str, value: str) -> None:
    """Both engines say the same of any pattern and value."""
    translated = translate(pattern)
    expected = re.compile(translated).fullmatch(value) is not None
    assert Automaton(parse_tree(translated)).accepts(value) is expected
    assert (Automaton(parse_tree(translated)).groups(value) is not None) is expected


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("(a|ab)(c|bcd)(d*)", "abcd"),
        ("(a*)(a*)", "aaa"),
        ("(a*?)(a*)", "aaa"),
        ("(?P<first>[^.]+)\\.(.*)", "pod.one.two"),
        ("(?:(a)|(b))+", "ab"),
        ("((a)|b)*c", "abac"),
        ("(x?)y(z)?", "y"),
        ("()(a{2,3}?)(a*)", "aaaa"),
    ],
)
def test_groups_are_those_python_prefers(pattern: str, value: str) -> None:
    """Of several ways to match, the automaton keeps the groups of the one that comes first."""
    translated = translate(pattern, captures=True)
    match = re.compile(translated).fullmatch(value)
    assert match is not None
    expected = {n: match.span(n) for n in range(match.re.groups + 1) if match.span(n) != (-1, -1)}
    assert Automaton(parse_tree(translated)).groups(value) == expected


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("(a+)+b", "a" * 4000 + "!"),
        ("(a|a)*b", "a" * 4000),
        (".*.*.*.*.*x", "a" * 4000),
        ("(.*a){100}", "b" * 4000),
        ("(a?){200}a{200}", "a" * 200),
        ("(x+x+)+y", "x" * 4000),
        ("([a-z]+)*[0-9]", "z" * 4000),
        ("(a|b|ab)*c", "ab" * 2000),
    ],
)
def test_patterns_that_backtrack_for_years_take_no_time(pattern: str, value: str) -> None:
    """The classic catastrophic patterns end at once on a long value, with and without groups."""
    started_s = time.process_time()
    found = Pattern(pattern).accepts(value)
    captured = Pattern(pattern, captures=True).captured(value[:300])
    assert time.process_time() - started_s < 5
    assert found is (pattern == "(a?){200}a{200}")
    assert (captured is not None) is found


def test_a_pattern_of_too_many_repeats_is_refused_with_the_bound() -> None:
    """Nested counted repeats are refused when compiled, as an error of the matcher."""
    with pytest.raises(MatcherError, match="stay under 20000 characters; use smaller repeats"):
        compile_matcher(Matcher("l", MatchOp.REGEX, "((a{100}){100}){100}"))


def test_a_value_that_costs_too_much_is_refused_with_the_bound() -> None:
    """Where even one look at each character is too much, the matcher says so and ends."""
    compiled = compile_matcher(Matcher("l", MatchOp.REGEX, "(.?.?[a-z]?){900}0"))
    started_s = time.process_time()
    with pytest.raises(
        MatcherError, match="takes too long: matching one value must take at most 3000000 steps"
    ):
        compiled.accepts("a" * 4096)
    assert time.process_time() - started_s < 10


@settings(max_examples=200, deadline=None)
@given(st.text("ab()[]{}*+?|\\^$.1,:i<>P-", max_size=14), VALUES)
def test_any_text_is_a_pattern_or_refused(text: str, value: str) -> None:
    """Whatever is written compiles and answers alike on both engines, or is refused; nothing else is raised."""
    try:
        pattern = Pattern(text)
    except (RegexError, PatternCostError):
        return
    assert pattern.accepts(value) is Automaton(parse_tree(translate(text))).accepts(value)
