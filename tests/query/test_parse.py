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
from ninesight_query.testing import engine_over
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
        ("", "1:1: parse error: no expression found in input; a query must hold an expression"),
        ("foo bar", '1:5: parse error: unexpected identifier "bar"; put an operator between two operands'),
        ("rat(up[5m])", 'unknown function with name "rat", did you mean rate? In: >>>rat<<<(up[5m])'),
        ("RATE(up[5m])", 'unknown function with name "RATE", did you mean rate?'),
        (
            "rate(up)",
            'expected type range vector in call to function "rate", got instant vector; add a range',
        ),
        ("sum(", "1:4: parse error: unclosed left parenthesis"),
        ("sum)", "1:4: parse error: unexpected right parenthesis"),
        ("{}", "vector selector must contain at least one non-empty matcher"),
        ('up{a="1" or b="2"}', 'join alternatives in a regular expression, as in job=~"a|b"'),
        ("up{a}", 'expected label matching operator; write a="value"'),
        ("up{a=b}", 'expected string; put the value in quotes, as in a="value"'),
        ("up{a='b}", "unterminated quoted string; close it with ' on the same line"),
        ("up[0s]", "1:4: parse error: duration must be greater than 0; write 5m or 1h30m"),
        ("up[5]m", '1:6: parse error: unexpected identifier "m"'),
        ("up[5q]", "bad number or duration syntax '5q'"),
        ("up[5s1m]", "units in falling order"),
        ("up offset Inf", "duration out of range, it must be at most 292 years"),
        ("up offset - nan", "duration out of range, it must be at most 292 years"),
        ("up[1e300]", "duration out of range, it must be at most 292 years"),
        ("up @ Inf", "timestamp out of bounds for @ modifier: it must be finite seconds, got inf"),
        ("up @ 1e300", "timestamp out of bounds for @ modifier"),
        ("1 = 1", "unexpected '='; write == to compare"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier; write == bool"),
        ("up + bool 1", "1:4: parse error: bool modifier can only be used on comparison operators"),
        ("up and 1", 'set operator "and" not allowed in binary scalar expression'),
        ("a + on(x) group_left(x) b", 'label "x" must not occur in ON and GROUP clause at once'),
        ("sum(a, b)", "wrong number of arguments for aggregate expression provided, expected 1, got 2"),
        ("topk('a', b)", "expected type scalar in aggregation parameter, got string"),
        ("abs(a,)", "trailing commas not allowed in function call args"),
        ("up[5m][5m:]", "subquery is only allowed on instant vector, got range vector instead"),
        ("a offset 1m[5m]", "no offset modifiers allowed before range; write it behind the range"),
        ("a offset 1m offset 1m", "offset may not be set multiple times"),
        ("a{__name__='b'}", 'metric name must not be set twice: "a" or "b"'),
        ("a[5m:] smoothed", "smoothed modifier is not supported for subqueries"),
        ("a[5m] anchored smoothed", "anchored and smoothed modifiers cannot be used together"),
        ("on + 1", 'a metric of this name is written {"on"}'),
        ("\n\n  é{a='b'} +\n 1 +", "3:3: parse error: unexpected character 'é'"),
        ("'é' + +\n", "2:1: parse error: unexpected end of input, expected an expression"),
        ("(" * 500 + "1" + ")" * 500, "1:101: parse error: brackets may nest at most 100 deep"),
        ("1" + "+1" * 2500, "a query may hold at most 2000 operators"),
        ("1" + "^1" * 300, "a query may nest at most 250 levels deep"),
        (
            "up == 1 == 2 == 'a'",
            "binary expression must contain only scalar and instant vector types, got string",
        ),
        (r'up{a="\xff"}', "a string must be valid UTF-8"),
        (r'"\q"', r"unknown escape sequence \q"),
        ("up{a='\ud800'}", "a query must be valid UTF-8"),
        ('up{a=~"(?=x)"}', "1:7: parse error"),
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


@pytest.mark.parametrize(
    "query",
    [
        "m" + " + m" * 1999,
        "m" + " or m" * 1999,
        "m @ 60" + " + m @ 60" * 500,
        "2" + " ^ 1" * 240,
        "-" * 240 + "m",
        "abs(" * 100 + "m" + ")" * 100,
        "sum(" * 100 + "m" + ")" * 100,
        "m + (" * 100 + "m" + ")" * 100,
        "max_over_time(" * 50 + "m" + "[1m:])" * 50,
        "scalar(vector(" * 50 + "1" + "))" * 50,
        "info(m" + " + m" * 500 + ")",
    ],
)
def test_long_and_deep_queries_are_answered(query):
    """What the parser lets through, the engine has the stack for."""
    engine = engine_over(
        'load 1m\n  m{job="a", instance="b"} 1x5\n  target_info{job="a", instance="b", c="d"} 1x5'
    )
    instant, ranged = engine.instant(query, 300_000).value, engine.range(query, 0, 300_000, 60_000).value
    assert type(instant).__name__ in ("Vector", "Scalar")
    assert len(ranged.labels) == 1


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
