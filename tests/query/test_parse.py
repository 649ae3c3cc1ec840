"""Query text to tree: what is kept, what is refused and how, and that no text crashes the process."""

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import ir, parse, parse_selector
from ninesight_query.errors import ParseError
from ninesight_query.parse import QUERY_LENGTH_MAX
from ninesight_store.contract import Matcher, MatchOp

UP = ir.Selector((Matcher("__name__", MatchOp.EQUAL, "up"),))


def test_a_selector_keeps_its_matchers_in_order():
    """The name comes first, then the matchers as written."""
    expr = parse("""up{job="a", instance!="b", x=~"c|d", y!~".+"} offset 5m""")
    assert isinstance(expr, ir.Selector)
    assert expr.offset_ms == 300_000
    assert [(m.name, str(m.op), m.value) for m in expr.matchers] == [
        ("__name__", "=", "up"),
        ("job", "=", "a"),
        ("instance", "!=", "b"),
        ("x", "=~", "c|d"),
        ("y", "!~", ".+"),
    ]


@pytest.mark.parametrize(
    ("query", "timestamp_ms"),
    [
        ("up @ 10", 10_000),
        ("up @ -10", -10_000),
        ("up @ 1.2345", 1_235),
        ("up @ -0.001", -1),
        ("up @ 253402300800", 253_402_300_800_000),
        ("up @ 1m40s", 100_000),
        ("up @ 0x10", 16_000),
        ("up @ # here\n 5", 5_000),
    ],
)
def test_any_time_may_stand_behind_at(query, timestamp_ms):
    """Times before 1970, beyond year 9999 and between milliseconds are carried exactly."""
    assert parse(query) == ir.Selector(UP.matchers, 0, ir.At("time", timestamp_ms))


def test_at_belongs_to_its_own_selector():
    """With several `@`, each value goes where it was written."""
    expr = parse(
        "sum(a @ -1) + rate(b[5m] @ 7)[1h:1m] @ start() + c @ end()".replace(
            "rate(", "max_over_time(rate(", 1
        ).replace("start()", "start())")
    )
    ats = [node.at for node in ir.walk(expr) if isinstance(node, ir.Selector | ir.Subquery)]
    assert [(at.anchor, at.timestamp_ms) for at in ats] == [
        ("time", -1000),
        ("start", 0),
        ("time", 7000),
        ("end", 0),
    ]


def test_trim_operators_are_told_from_comparisons():
    """`</` and `>/` survive beside `<` and `>`, and are left alone inside strings."""
    expr = parse("""(h </ 5) * (a < bool 3) * (h2{x="</"} >/ 1)""")
    assert [node.op for node in ir.walk(expr) if isinstance(node, ir.Binary)] == ["*", "*", "</", "<", ">/"]


def test_unary_minus_binds_looser_than_power():
    """-1^2 is -(1^2)."""
    assert parse("-1^2") == ir.Negate(ir.Binary("^", ir.NumberLiteral(1), ir.NumberLiteral(2)))


def test_durations_keep_their_milliseconds():
    """[1001ms] is not rounded, and bare numbers are seconds."""
    assert parse("up[1001ms]") == ir.RangeSelector(UP, 1001)
    assert parse("up[1800]") == ir.RangeSelector(UP, 1_800_000)
    assert parse("up[5m:]") == ir.Subquery(UP, 300_000, None)
    assert parse("up offset -5m") == ir.Selector(UP.matchers, -300_000)


def test_matching_clauses():
    """on, group_left and fill arrive as written; set operators are many-to-many."""
    expr = parse("a + on(x) group_left(y) fill_left(3) b")
    assert isinstance(expr, ir.Binary)
    assert expr.matching == ir.Matching(
        ir.Cardinality.MANY_TO_ONE, on=True, labels=("x",), include=("y",), fill_left=3.0
    )
    both = parse("a and ignoring(z) b")
    assert isinstance(both, ir.Binary)
    assert both.matching.cardinality is ir.Cardinality.MANY_TO_MANY
    assert both.matching.labels == ("z",)


def test_operators_of_one_kind_compare_equal():
    """The same text gives the same tree, whatever the parser's tokens do."""
    assert parse("a + b") == parse(" a+b ")
    assert parse("a + b") != parse("a - b")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "a query must hold an expression, got an empty text"),
        ("foo bar", "the query is not valid PromQL; look for a missing operator"),
        ("rat(up[5m])", "unknown function with name 'rat', did you mean rate?"),
        ("rate(up)", "expected type matrix in call to function 'rate', got vector"),
        ("sum(", "unclosed left parenthesis"),
        ("{}", "vector selector must contain at least one non-empty matcher"),
        ('up{a="1" or b="2"}', "matchers are joined by commas"),
        ("up[0s]", "duration must be greater than 0"),
        ("up offset Inf", "an offset must be at most 100 years, got inf s"),
        ("up offset - nan", "an offset must be at most 100 years"),
        ("up[1e300]", "a range must be at most 100 years"),
        ("up @ Inf", "the time behind @ must be finite seconds, got inf"),
        ("up @ 1e300", "the time behind @ must be finite seconds"),
        ("(" * 500 + "1" + ")" * 500, "brackets may nest at most 100 deep, got 500"),
        ("1" + "+1" * 500, "a query may hold at most 400 operators, got 500"),
        ("1" + "+1" * 300, "a query may nest at most 180 levels deep"),
        ("up == 1 == 2 == 'a'", "binary expression must contain only scalar and instant vector types"),
        (r'up{a="\xff"}', "a string must be valid UTF-8"),
        ('up{a=~"(?=x)"}', "up{a=~"),
        ("x" * (QUERY_LENGTH_MAX + 1), f"a query may have at most {QUERY_LENGTH_MAX} characters"),
    ],
)
def test_refusals_say_what_is_wrong(query, says):
    """The message names the fault and shows the query, shortened."""
    with pytest.raises(ParseError) as refused:
        parse(query)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 600


def test_byte_escapes_spell_characters():
    """Valid UTF-8 written byte by byte is that character."""
    expr = parse(r'up{a="\xc3\xa9\303\251"}')
    assert isinstance(expr, ir.Selector)
    assert expr.matchers[1].value == "éé"


def test_selectors_for_the_series_api():
    """A plain selector gives its matchers; anything else is refused with the selector's form."""
    assert parse_selector('up{a="b"}') == (*UP.matchers, Matcher("a", MatchOp.EQUAL, "b"))
    for text in ("up[5m]", "up offset 5m", "up + 1", "1"):
        with pytest.raises(ParseError, match="a plain series selector is needed"):
            parse_selector(text)


def test_deep_text_does_not_kill_the_process():
    """What would overflow the parser's stack is refused before it gets there, in a thread too."""
    script = (
        "import threading\n"
        "from ninesight_query import parse\n"
        "from ninesight_query.errors import ParseError\n"
        "texts = ['('*20000, '-'*30000+'x', '1'+'+1'*20000, 'abs('*15000, '1'+'^1'*15000, '['*9000, '{'*9000,"
        " 'sum(' * 100 + 'x' + ')' * 100, '-' * 400 + 'x', '1' + '*-1' * 199]\n"
        "def work():\n"
        "    for text in texts:\n"
        "        try:\n"
        "            parse(text)\n"
        "        except ParseError:\n"
        "            pass\n"
        "    print('alive')\n"
        "work()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["alive", "alive"], done.stderr[-500:]


PIECES = st.sampled_from(
    [
        "up",
        "rate",
        "sum",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "offset",
        "@",
        "start()",
        "end()",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "=",
        "!=",
        "=~",
        "<",
        "</",
        ">/",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "and",
        "or",
        "unless",
        "bool",
        "5m",
        "1",
        "1.5",
        "Inf",
        "NaN",
        "0x1f",
        "'a'",
        '"b"',
        "`c`",
        "#",
        "\n",
        "\\",
        "\x00",
        "é",
        "topk",
        "quantile",
        "[5m]",
        "[5m:1m]",
        "info",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=14).map(" ".join))
def test_any_mixture_of_tokens_parses_or_is_refused(query):
    """Nothing but ParseError ever leaves parse()."""
    with contextlib.suppress(ParseError):
        assert parse(query) is parse(query)
