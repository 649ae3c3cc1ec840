"""The grammar: what is PromQL and what is not, how it is laid out again, and its tree as JSON."""

import contextlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import ir, parse, prettify, tree_of
from ninesight_query.errors import ParseError
from ninesight_query.syntax.pretty import LINE_BYTES_MAX
from ninesight_query.syntax.signatures import SIGNATURES
from ninesight_store.contract import Matcher, MatchOp

TEXTS = Path(__file__).parent / "texts"


def texts(*names):
    """The queries of some lists."""
    lines = itertools.chain(*((TEXTS / f"{name}.txt").read_text().splitlines() for name in names))
    for line in lines:
        quoted = line.startswith(('"', "'", "`"))
        yield line if quoted else line.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


VALID = list(texts("valid", "newer_valid"))
INVALID = list(texts("invalid", "newer_invalid"))


def sorted_matchers(expr):
    """The same tree with the matchers of every selector sorted, as prettify writes them; NaN made equal."""
    match expr:
        case ir.NumberLiteral():
            return replace(expr, value=repr(expr.value))
        case ir.Selector():
            return replace(expr, matchers=tuple(sorted(expr.matchers, key=repr)))
        case ir.RangeSelector():
            return replace(expr, selector=sorted_matchers(expr.selector))
        case ir.Subquery() | ir.Negate():
            return replace(expr, expr=sorted_matchers(expr.expr))
        case ir.Call():
            return replace(expr, args=tuple(map(sorted_matchers, expr.args)))
        case ir.Aggregate():
            param = None if expr.param is None else sorted_matchers(expr.param)
            return replace(expr, expr=sorted_matchers(expr.expr), param=param)
        case ir.Binary():
            matching = replace(
                expr.matching,
                fill_left=repr(expr.matching.fill_left),
                fill_right=repr(expr.matching.fill_right),
            )
            return replace(
                expr, left=sorted_matchers(expr.left), right=sorted_matchers(expr.right), matching=matching
            )
    return expr


def same(first, second):
    """Whether two trees are equal but for positions and the order of matchers."""
    return sorted_matchers(first) == sorted_matchers(second)


@pytest.mark.parametrize("query", VALID)
def test_valid_queries_are_read_and_written_again(query):
    """The text laid out again means the same, and laying it out once more changes nothing."""
    expr = parse(query)
    text = prettify(query)
    assert same(parse(text), expr)
    assert prettify(text) == text
    assert same(parse(prettify(expr)), expr)
    orjson.dumps(tree_of(query))


@pytest.mark.parametrize("query", INVALID)
def test_invalid_queries_are_refused_with_their_place(query):
    """Every refusal gives line and column and marks the place."""
    with pytest.raises(ParseError, match=r"^\d+:\d+: parse error: .+\. In: (?s:.*)>>>|\? In: ") as refused:
        parse(query)
    assert "\n" not in str(refused.value)
    for use in (prettify, tree_of):
        with pytest.raises(ParseError):
            use(query)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sum(rate(a[1800])) by(b,c)", "sum by (b, c) (rate(a[30m]))"),
        ("a{z='1',b=~`x\\d`}", 'a{b=~"x\\\\d",z="1"}'),
        ("{'a.b', c!='d'}", '{__name__="a.b",c!="d"}'),
        ("a{'x.y'='z'}", 'a{"x.y"="z"}'),
        ("a @ 1.5 offset 90s", "a @ 1.500 offset 1m30s"),
        ("a[5m] offset -1m @ end()", "a[5m] @ end() offset -1m"),
        ("a[1h:] @ start()", "a[1h:] @ start()"),
        ("a[5m]   smoothed", "a[5m] smoothed"),
        ("a[5m+ -1 *(step())]", "a[5m + -1 * (step())]"),
        ("a offset -(2*1m)", "a offset -(2 * 1m)"),
        ("a + on(x) group_left b", "a + on (x) group_left () b"),
        ("a + ignoring() b", "a + b"),
        ("a + fill_left(1) fill_right(1) b", "a + fill (1) b"),
        ("a+fill_right(-Inf)b", "a + fill_right (-Inf) b"),
        ("topk without() (5,a)", "topk without () (5, a)"),
        ("1e3 + 1e-9 + 5m + 0x1F + 017", "1000 + 0.000000001 + 5m + 31 + 15"),
        ("a # why", "a"),
        ("info(a, {})", "info(a, {})"),
    ],
)
def test_one_line(query, text):
    """What is short stays on one line, in Prometheus' spelling."""
    assert prettify(query) == text


def test_long_queries_are_broken_as_prometheus_does():
    """Parts of what does not fit go one level deeper; each operator stands alone on its line."""
    query = (
        "sum by (instance) (rate(a_rather_long_metric_name_total{label_one='value'}[5m])) / on (instance) "
        "group_left (cluster) (topk(5, -another_metric_with_a_long_name{label='x'} offset 5m) > bool 1) "
        "or max_over_time(a_rather_long_metric_name_total{label_one='value', label_two='a value of its own'}[1h:1m])"
    )
    assert prettify(query) == (
        '    sum by (instance) (rate(a_rather_long_metric_name_total{label_one="value"}[5m]))\n'
        "  / on (instance) group_left (cluster)\n"
        '    (topk(5, -another_metric_with_a_long_name{label="x"} offset 5m) > bool 1)\n'
        "or\n"
        "  max_over_time(\n"
        '    a_rather_long_metric_name_total{label_one="value",label_two="a value of its own"}[1h:1m]\n'
        "  )"
    )


RATE = {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"}


def test_the_tree_as_prometheus_gives_it():
    """Types and keys of /api/v1/parse_query."""
    assert tree_of(
        '-(sum by (a) (rate(x{b!="c"}[5m] @ 1.5 offset 1m)) * on (a) fill (0) y @ start()) ^ 2'
    ) == {
        "type": "unaryExpr",
        "op": "-",
        "expr": {
            "type": "binaryExpr",
            "op": "^",
            "bool": False,
            "matching": None,
            "rhs": {"type": "numberLiteral", "val": "2"},
            "lhs": {
                "type": "parenExpr",
                "expr": {
                    "type": "binaryExpr",
                    "op": "*",
                    "bool": False,
                    "matching": {
                        "card": "one-to-one",
                        "labels": ["a"],
                        "on": True,
                        "include": [],
                        "fillValues": {"lhs": 0.0, "rhs": 0.0},
                    },
                    "lhs": {
                        "type": "aggregation",
                        "op": "sum",
                        "param": None,
                        "grouping": ["a"],
                        "without": False,
                        "expr": {
                            "type": "call",
                            "func": RATE,
                            "args": [
                                {
                                    "type": "matrixSelector",
                                    "name": "x",
                                    "range": 300_000,
                                    "offset": 60_000,
                                    "matchers": [
                                        {"name": "b", "value": "c", "type": "!="},
                                        {"name": "__name__", "value": "x", "type": "="},
                                    ],
                                    "timestamp": 1500,
                                    "startOrEnd": None,
                                    "anchored": False,
                                    "smoothed": False,
                                }
                            ],
                        },
                    },
                    "rhs": {
                        "type": "vectorSelector",
                        "name": "y",
                        "offset": 0,
                        "matchers": [{"name": "__name__", "value": "y", "type": "="}],
                        "timestamp": None,
                        "startOrEnd": "start",
                        "anchored": False,
                        "smoothed": False,
                    },
                },
            },
        },
    }


def test_the_tree_of_the_other_nodes():
    """Subqueries, strings and parameters; what waits for the query's step is 0, as upstream."""
    tree = tree_of('label_join(max_over_time(topk(2, x)[1h:step()] offset -5m @ 7), "a", "b")')
    join, subquery = tree, tree["args"][0]["args"][0]
    assert join["args"][1] == {"type": "stringLiteral", "val": "a"}
    assert join["func"]["variadic"] == -1
    assert {key: subquery[key] for key in ("type", "range", "step", "offset", "timestamp")} == {
        "type": "subquery",
        "range": 3_600_000,
        "step": 0,
        "offset": -300_000,
        "timestamp": 7000,
    }
    assert subquery["expr"]["param"] == {"type": "numberLiteral", "val": "2"}


def test_long_chains_take_no_stack():
    """Two thousand operators in a row are read, checked, written and compared where little stack is left."""
    query = "m" + " + m" * 1999
    expr = parse(query)
    assert expr.type is ir.ValueType.VECTOR
    assert sum(1 for node in ir.walk(expr) if isinstance(node, ir.Binary)) == 1999
    assert prettify(query).split() == prettify(expr).split() == query.split()
    assert len(prettify(query)) < 1_000_000
    with pytest.raises(ParseError, match="at most 200 levels deep"):
        tree_of(query)


@pytest.mark.parametrize(
    "query",
    ["9" * 60_000, "0x" + "f" * 60_000, "0" + "7" * 60_000, "1" * 60_000 + "m", "f" * 60_000 + "(x)", "m m" + "m" * 60_000,
     '"\\q' + "x" * 60_000 + '"', "m{a=~'(" + "x" * 60_000 + "'}", "m[" + "9" * 60_000 + "s]", "'" + "x" * 60_000],
)  # fmt: skip
def test_huge_words_make_short_messages(query):
    """A message quotes a name or a number, but not all of it."""
    with pytest.raises(ParseError) as refused:
        parse(query)
    assert len(str(refused.value)) < 700


def test_little_stack_is_no_crash():
    """Where the caller left no stack, the query is refused, not the process."""

    def deeper(left):
        return parse("(" * 90 + "1" + ")" * 90 + f" + {left}") if left == 0 else deeper(left - 1)

    with contextlib.suppress(ParseError, RecursionError):
        deeper(sys.getrecursionlimit() - 200)


def test_lines_are_as_short_as_they_can_be():
    """No line but that of a single selector is longer than the limit and its indentation."""
    for query in VALID:
        wrapped = f"sum(abs({query}\n))" if parse(query).type is ir.ValueType.VECTOR else query
        for line in prettify(wrapped).split("\n"):
            assert len(line.strip().encode()) <= LINE_BYTES_MAX or "{" in line


NAMES = st.sampled_from(
    ["a", "b:c", "sum", "on", "inf", "le", "a.b", "é", "x y", "offset", "__name", "start"]
)
VALUES = st.text(max_size=8).filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
MATCHERS = st.builds(Matcher, NAMES, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), VALUES) | st.builds(
    Matcher,
    NAMES,
    st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]),
    st.sampled_from(["a|b", ".*", r"\d+\.x"]),
)
MS = st.integers(1, 10**11)
SECONDS = st.floats(-1e6, 1e6, allow_nan=False)
COMPUTED = st.recursive(
    SECONDS | st.builds(ir.Computed, st.sampled_from(["step", "range"])),
    lambda inner: (
        st.builds(lambda x: ir.Computed("-", (x,)), inner.filter(lambda x: isinstance(x, ir.Computed)))
        | st.builds(
            lambda op, x, y: ir.Computed(op, (x, y)), st.sampled_from(["+", "-", "*", "^", "min_of", "max_of"]), inner, inner
        )
    ),
    max_leaves=6,
)  # fmt: skip
WAITING = st.builds(lambda inner: ir.Computed("+", (ir.Computed("step"), inner)), COMPUTED)
AT = st.none() | st.builds(ir.At, st.sampled_from(["start", "end"])) | st.builds(
    ir.At, st.just("time"), st.integers(-(10**14), 10**14)
)  # fmt: skip
OFFSETS = st.tuples(st.integers(-(10**11), 10**11), st.none()) | st.tuples(st.just(0), WAITING)
RANGES = st.tuples(MS, st.none()) | st.tuples(st.just(0), WAITING)


def selector(name, others, offset, at, extension):
    return ir.Selector(
        (Matcher("__name__", MatchOp.EQUAL, name), *others), offset[0], at, extension, offset[1]
    )


SELECTORS = st.builds(
    selector, NAMES, st.lists(MATCHERS, max_size=3), OFFSETS, AT, st.sampled_from(list(ir.Extension))
)
NUMBERS = st.builds(ir.NumberLiteral, st.floats(allow_nan=False))
MATCHINGS = st.builds(
    lambda on, labels, many, include, left, right: ir.Matching(
        many if labels or on else ir.Cardinality.ONE_TO_ONE,
        on,
        labels,
        include if (labels or on) and many is not ir.Cardinality.ONE_TO_ONE else (),
        left,
        right,
    ),
    st.booleans(),
    st.lists(NAMES, max_size=2, unique=True).map(tuple),
    st.sampled_from([ir.Cardinality.ONE_TO_ONE, ir.Cardinality.MANY_TO_ONE, ir.Cardinality.ONE_TO_MANY]),
    st.lists(st.sampled_from(["q", "r.s"]), max_size=2, unique=True).map(tuple),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.floats(allow_nan=False),
)
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2", "</", ">/"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]
SETS = ["and", "or", "unless"]


def subquery(expr, span, step, offset, at):
    step_ms, step_by = (None, None) if step is None else step
    return ir.Subquery(
        expr, span[0], step_ms if step_by is None else 0, offset[0], at, span[1], step_by, offset[1]
    )


def scalars(inner):
    """Trees of scalars over smaller ones."""
    return (
        st.builds(ir.Binary, st.sampled_from(ARITHMETIC), inner, inner)
        | st.builds(
            lambda op, x, y: ir.Binary(op, x, y, return_bool=True), st.sampled_from(COMPARISONS), inner, inner
        )
        | st.builds(ir.Negate, inner)
    )


SCALARS = st.recursive(NUMBERS | st.just(ir.Call("time", (), ir.ValueType.SCALAR)), scalars, max_leaves=6)


def ranged(name, window, extra=()):
    return ir.Call(name, (window, *extra), ir.ValueType.VECTOR)


def vectors(inner):
    """Trees of vectors over smaller ones."""
    window = st.builds(
        lambda series, span: ir.RangeSelector(series, span[0], span[1]), SELECTORS, RANGES
    ) | st.builds(subquery, inner, RANGES, st.none() | RANGES, OFFSETS, AT)
    labels = st.lists(NAMES, max_size=3, unique=True).map(lambda names: tuple(sorted(names)))
    return (
        st.builds(ranged, st.sampled_from(["rate", "changes", "absent_over_time"]), window)
        | st.builds(lambda op, expr, names, out: ir.Aggregate(op, expr, None, names, out), st.sampled_from(["sum", "max"]), inner, labels, st.booleans())
        | st.builds(lambda expr, param, names: ir.Aggregate("topk", expr, param, names), inner, SCALARS, labels)
        | st.builds(ir.Binary, st.sampled_from(ARITHMETIC), inner, inner, MATCHINGS)
        | st.builds(ir.Binary, st.sampled_from(COMPARISONS), inner, inner, MATCHINGS, st.booleans())
        | st.builds(
            lambda op, x, y, on: ir.Binary(op, x, y, ir.Matching(ir.Cardinality.MANY_TO_MANY, on is not None, on or ())),
            st.sampled_from(SETS), inner, inner, st.none() | st.just(("k",)),
        )
        | st.builds(ir.Binary, st.sampled_from(ARITHMETIC + COMPARISONS), inner, SCALARS)
        | st.builds(ir.Binary, st.sampled_from(ARITHMETIC + COMPARISONS), SCALARS, inner)
        | st.builds(ir.Negate, inner)
    )  # fmt: skip


EXPRESSIONS = st.recursive(SELECTORS, vectors, max_leaves=8) | SCALARS


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_any_tree_survives_being_written(expr):
    """parse(prettify(e)) is e, whatever operators, durations, names and modifiers meet."""
    text = prettify(expr)
    assert same(parse(text), expr), text


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | st.text("()[]{}<>=!~+-*/%^@,:\"'`\\#0159aemsx. \n", max_size=40))
def test_any_text_is_a_tree_or_a_parse_error(text):
    """Nothing else ever leaves parse(), and what parses can be written again."""
    expr = refused = None
    try:
        expr = parse(text)
    except ParseError as error:
        refused = str(error)
    if expr is None:
        assert 10 < len(refused) < 600
    else:
        assert same(parse(prettify(text)), expr)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(VALID),
    st.integers(0, 60),
    st.integers(0, 3),
    st.sampled_from(["", "(", "]", "}", "5m", " by ", "@", '"', "+"]),
)
def test_damaged_queries_are_trees_or_parse_errors(query, place, cut, put):
    """A valid query with something cut out or put in."""
    with contextlib.suppress(ParseError):
        parse(query[:place] + put + query[place + cut :])


def test_every_function_has_a_signature_and_an_implementation():
    """What the parser lets through, the engine answers."""
    from ninesight_query.functions import FUNCTIONS
    from ninesight_query.range_functions import RANGE_FUNCTIONS

    assert set(SIGNATURES) - set(FUNCTIONS) - set(RANGE_FUNCTIONS) == set()
    assert set(FUNCTIONS) | set(RANGE_FUNCTIONS) <= set(SIGNATURES)


def test_positions_are_those_of_prometheus():
    """Lines and columns from 1; columns count bytes; a node begins where its text does."""
    expr = parse("\n  sum(é_is_no_name)".replace("é_is_no_name", 'rate({"é"}[5m]) +\nx'))
    assert isinstance(expr, ir.Aggregate)
    assert expr.position == (2, 3)
    assert isinstance(expr.expr, ir.Binary)
    assert expr.expr.position == (2, 7)
    assert expr.expr.right.position == (3, 1)
    both = parse('count({"é"}) + x')
    assert isinstance(both, ir.Binary)
    assert both.right.position == (1, 17)
