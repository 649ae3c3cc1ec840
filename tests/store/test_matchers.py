"""Matchers: RE2's meaning on the whole value, and clear refusals."""

from __future__ import annotations

import pytest
from ninesight_store import Matcher, MatcherError, MatchOp
from ninesight_store.matchers import compile_matcher

ACCEPTED = [
    ("a|b|c", "b", True),
    ("a|b|c", "ab", False),
    ("(a|b)", "b", True),
    ("(?:a|b)", "a", True),
    (r"a\.b|c", "a.b", True),
    (r"a\.b|c", "axb", False),
    ("", "", True),
    (".*", "", True),
    (".*", "two\nlines", True),
    (".+", "", False),
    (".+", "\n", True),
    ("eu-.*", "eu-", True),
    ("eu-.+", "eu-", False),
    ("eu-.+", "eu-1", True),
    (".*-1", "eu-1", True),
    (".+-1", "-1", False),
    (".*u-.*", "eu-1", True),
    ("a.c", "a\nc", True),
    ("(?-s)a.c", "a\nc", False),
    ("(?i)abc", "aBC", True),
    ("a(?i)b|c", "aB", True),
    ("a(?i)b|c", "C", True),
    ("a(?i)b|c", "AB", False),
    ("(?i:a)b", "Ab", True),
    ("(?i:a)b", "AB", False),
    ("(?i)a(?-i:b)", "AB", False),
    ("a$", "a\n", False),
    ("^a$", "a", True),
    ("(?m)a$\nb", "a\nb", True),
    (r"\d{2,3}", "42", True),
    (r"\d", "\u0664", False),
    (r"\w+", "\u00e9", False),
    (r"[^\d]", "x", True),
    (r"[\D]", "5", False),
    ("[[:alpha:]-]+", "a-b", True),
    ("[]a]+", "]a", True),
    ("[a-c]+", "abd", False),
    (r"\Qa.b*\E+", "a.b**", True),
    (r"\x41\x{42}\103", "ABC", True),
    ("a{,2}", "a{,2}", True),
    ("(?P<zone>a)(?<rack>b)", "ab", True),
    (r"a\z", "a", True),
    ("(ab|cd)+?e", "abcde", True),
    ("x*|y", "", True),
    ("\u00fc|\u00f6", "\u00f6", True),
]


@pytest.mark.parametrize(("pattern", "value", "matches"), ACCEPTED)
def test_a_pattern_matches_the_whole_value_as_in_prometheus(pattern, value, matches):
    """`=~` and `!~` are exact opposites, anchored at both ends, with `.` matching newlines."""
    assert compile_matcher(Matcher("x", MatchOp.REGEX, pattern)).accepts(value) is matches
    assert compile_matcher(Matcher("x", MatchOp.NOT_REGEX, pattern)).accepts(value) is not matches


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P=n)", "a**", "a++", "[a", "(a", "a)", "*", "a|*",
        r"\p{L}", r"\C", "a\\", "a{1001}", "a{3,2}", "(?#x)", "(?>a)", "(?x)a", "[b-a]", "[[:^alpha:]]", "(?",
        "(?P<n>a)(?P<n>b)", "x" * 20_000 + "+",
    ],
)  # fmt: skip
def test_what_re2_refuses_is_a_matcher_error_that_quotes_the_pattern(pattern):
    """Look-around, back-references and broken syntax never reach Python's engine."""
    with pytest.raises(MatcherError) as caught:
        compile_matcher(Matcher("job", MatchOp.REGEX, pattern))
    assert pattern[:100] in str(caught.value)
    assert "job" in str(caught.value)


def test_a_long_list_of_literals_is_a_set():
    """Dashboards join thousands of instances with `|`; that is a look-up, whatever its length."""
    names = [f"host-{number}:9100" for number in range(5000)]
    compiled = compile_matcher(Matcher("instance", MatchOp.REGEX, "|".join(names)))
    assert compiled.values == frozenset(names)


def test_a_missing_label_is_the_empty_value():
    """`accepts_missing` says what a series without the label gets."""
    assert compile_matcher(Matcher("x", MatchOp.NOT_EQUAL, "a")).accepts_missing
    assert not compile_matcher(Matcher("x", MatchOp.NOT_REGEX, "a|")).accepts_missing
