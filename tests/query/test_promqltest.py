"""The notation for promises about PromQL, and its runner."""

import math
import subprocess
import sys

import numpy as np
import pytest
from ninesight_query import parse
from ninesight_query.contract import Answer, Matrix, Scalar, Vector, labels_of
from ninesight_query.errors import ExecutionError
from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_math import equal
from ninesight_query.pin import pinned
from ninesight_query.promqltest import NotationError, parse_script, parse_series, run_paths, run_text
from ninesight_query.promqltest.compare import almost_equal
from ninesight_query.promqltest.histogram_text import format_histogram, parse_histogram
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.numbers import is_stale_value
from ninesight_query.promqltest.script import Eval, Load
from ninesight_query.promqltest.series import parse_start_line
from ninesight_store.contract import STALE_NAN, ResetHint
from ninesight_store.testing import MemoryStore


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1 2 -3.5e2 .5", [1, 2, -350, 0.5]),
        ("5x3", [5, 5, 5, 5]),
        ("1+2x3", [1, 3, 5, 7]),
        ("10-2x2", [10, 8, 6]),
        ("-1-1x1", [-1, -2]),
        ("_ 1 _x2 2", [None, 1, None, None, 2]),
        ("Inf -Inf +Inf", [math.inf, -math.inf, math.inf]),
        ("0x2", [0, 0, 0]),
        ("0x1f", [31]),
        ("1e3x1", [1000, 1000]),
        ("", []),
    ],
)
def test_items_of_a_series(text, points):
    """Runs repeat N+1 times, gaps exactly N times."""
    assert list(parse_series(f"up {text}").points) == points


def test_nan_and_stale_are_different():
    """stale is the marker with its own bits, NaN an ordinary value."""
    nan, stale, again = parse_series("up NaN stale stalex0").points
    assert math.isnan(nan)
    assert not is_stale_value(nan)
    assert is_stale_value(stale)
    assert is_stale_value(again)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('up{job="a", instance="b"}', labels_of("up", {"job": "a", "instance": "b"})),
        ('{job="a"}', labels_of("", {"job": "a"})),
        ("up{}", labels_of("up")),
        ('{"a.b", "c d"="e"}', labels_of("a.b", {"c d": "e"})),
        (r'up{q="\"\\\n\u00e9",}', labels_of("up", {"q": '"\\\né'})),
        ("up{q='x', r=`\\`}", labels_of("up", {"q": "x", "r": "\\"})),
        ('up{empty=""}', labels_of("up")),
        ("a:b_c", labels_of("a:b_c")),
    ],
)
def test_the_metric_of_a_series(text, labels):
    """Names, quoted names and the three kinds of quotes; empty labels are none."""
    assert parse_series(f"{text} 1").labels == labels


def test_histograms_in_a_series():
    """A body, repeated or rising; the base layout is kept."""
    line = parse_series(
        "h {{schema:1 count:3 sum:4 buckets:[1 2]}}+{{schema:1 count:1 buckets:[0 1]}}x2 {{}}x1"
    )
    assert [point.count for point in line.points] == [3, 4, 5, 0, 0]
    assert line.points[2].positive.tolist() == [1, 4]
    assert not line.named_hints
    assert parse_series("h {{counter_reset_hint:gauge}}").named_hints


def test_a_histogram_text_reads_back():
    """format_histogram and parse_histogram are inverse."""
    text = (
        "{{schema:-53 count:7 sum:5.5 z_bucket:1 z_bucket_w:0.001 offset:1 n_offset:-2 buckets:[1 0 2] "
        "n_buckets:[3] custom_values:[5 10] counter_reset_hint:not_reset}}"
    )
    histogram, named = parse_histogram(text[2:-2])
    assert named
    assert histogram.schema == CUSTOM_SCHEMA
    assert histogram.hint is ResetHint.NOT_RESET
    assert format_histogram(histogram) == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("up 1+2", "how often"),
        ("up x", "an item must be"),
        ("up 1,2", "separated by spaces"),
        ("1 2", "must begin with a metric name"),
        ("up{job=1} 1", 'must have a quoted value, as in job="x"'),
        ('up{job="a" 1', "closing brace"),
        ("up 1x99999999", "at most 1000000"),
        ("h {{schema:9}}", "from -4 to 8, or -53"),
        ("h {{bucket:[1]}}", "must be one of buckets"),
        ("h {{sum:1 sum:2}}", "got sum twice"),
        ("h {{sum:[1]}}", "sum must be one value"),
        ("h {{buckets:1}}", "buckets must be a list"),
        ("h {{schema:2}}+{{schema:1}}x2", "at least schema 2"),
        ("h {{counter_reset_hint:maybe}}", "must be one of unknown, reset"),
    ],
)
def test_ill_formed_series(line, message):
    """Every error says what must hold and what was given."""
    with pytest.raises(NotationError, match=message):
        parse_series(line)


def test_start_timestamps_are_read():
    """Offsets from each sample in milliseconds, with runs and gaps."""
    labels, starts = parse_start_line('x{a="b"}@st _ -30s-1mx2 1ms _x2')
    assert labels == labels_of("x", {"a": "b"})
    assert starts == (None, -30_000, -90_000, -150_000, 1, None, None)


def test_a_script_has_blocks():
    """load, clear and both evals with their expectations."""
    load, clear, instant, ranged = parse_script(
        """
load_with_nhcb 1m30s
  up{job="a"} 1 2
  # a comment ends the block
clear
eval instant at -1m up
  expect warn regex: a.*b
  expect ordered
  up{job="a"} 1

eval range from 0 to 2m step 1m vector(1)
  {} 1 1 1
"""
    )
    assert (load.step_ms, load.with_nhcb, len(load.series)) == (90_000, True, 1)
    assert clear.line == 5
    assert (instant.at_ms, instant.ordered, instant.says[0].kind) == (-60_000, True, "warn")
    assert (ranged.grid.start_ms, ranged.grid.end_ms, ranged.grid.step_ms) == (0, 120_000, 60_000)
    assert ranged.series[0].points == (1, 1, 1)


def test_a_bare_number_ends_an_eval():
    """A scalar result needs no blank line after it."""
    first, second = parse_script(
        "eval instant at 0 1\n 1\neval_fail instant at 0 up +\n expected_fail_message no\n"
    )
    assert first.scalar == 1
    assert second.fails
    assert second.says[-1].text == "no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "line 1: a command must be load, clear or eval"),
        ("load soon\n up 1", "line 1: a duration must be"),
        ("load 1m\n up 1\n up ?", "line 3: an item must be"),
        ("load 1m\n up@st 1m 1m\n up 1", "equal length"),
        ("load 1m\n up@st 1m", "followed by its series"),
        ("eval instant at 1m", "line 1: an eval must be"),
        ("eval instant at 0 up\n up 1 2", "one value per series, got 2"),
        ("eval instant at 0 up\n expect nothing", "must name what is expected"),
        ("eval range from 0 to 1m step 1m up\n expect ordered", "only an instant eval may be ordered"),
    ],
)
def test_ill_formed_scripts(text, message):
    """Errors carry the line."""
    with pytest.raises(NotationError, match=message):
        parse_script(text)


def test_loading_writes_points_at_their_steps():
    """Point k lies at k times the step; the last of two equal series wins; gaps write nothing."""
    store = MemoryStore()
    (load,) = parse_script("load 10s\n up 1 _ 3\n down 5\n up 7 _ stale")
    Loader(store).load(load)
    columns = store.select([], 0, 100_000)
    assert columns.labels == (labels_of("down"), labels_of("up"))
    assert columns.timestamps.tolist() == [0, 0, 20_000]
    assert columns.values[:2].tolist() == [5, 7]
    assert is_stale_value(columns.values[2])


def hints_after(text):
    """The hints that a reader sees after loading one series."""
    store = MemoryStore()
    (load,) = parse_script(f"load 1m\n h {text}")
    Loader(store).load(load)
    return [ResetHint(hint).name for hint in store.select([], 0, 10**9).histograms.hint]


def test_hints_are_rewritten_as_a_database_does():
    """The first point of a chunk is unknown, the next no reset; gauges stay; floats open a chunk."""
    assert hints_after("{{count:1}} {{count:2}} {{count:1}} {{count:2}}") == [
        "UNKNOWN", "NOT_RESET", "UNKNOWN", "NOT_RESET",
    ]  # fmt: skip
    assert hints_after("{{count:1}} 5 {{count:2}}") == ["UNKNOWN", "UNKNOWN"]
    assert hints_after("{{counter_reset_hint:gauge}} {{}} {{}}") == ["GAUGE", "UNKNOWN", "NOT_RESET"]
    assert hints_after("{{count:1}} {{count:2 counter_reset_hint:reset}}") == ["UNKNOWN", "UNKNOWN"]
    assert hints_after("{{count:1}} {{count:2 schema:1}}") == ["UNKNOWN", "UNKNOWN"]


def test_classic_families_become_native():
    """load_with_nhcb adds a histogram of schema -53 with the finite bounds."""
    store = MemoryStore()
    (load,) = parse_script(
        """load_with_nhcb 1m
  x_bucket{le="1", a="b"} 1 2
  x_bucket{le="2.5", a="b"} 3 4
  x_bucket{le="+Inf", a="b"} 4 6
  x_sum{a="b"} 7 8
  x_count{a="b"} 4 6
"""
    )
    Loader(store).load(load)
    columns = store.select([], 0, 10**9).histograms
    assert columns.schema.tolist() == [CUSTOM_SCHEMA] * 2
    assert columns.bounds.tolist() == [1, 2.5, 1, 2.5]
    assert columns.positive_count.tolist() == [1, 2, 1, 2, 2, 2]
    assert columns.sum.tolist() == [7, 8]


def test_counts_that_fall_with_le_are_refused():
    """A family that is not cumulative is no histogram."""
    (load,) = parse_script('load_with_nhcb 1m\n x_bucket{le="1"} 5\n x_bucket{le="2"} 3')
    with pytest.raises(NotationError, match="must rise with le"):
        Loader(MemoryStore()).load(load)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1.0, 1.0000009, True),
        (1.0, 1.00001, False),
        (0.0, 1e-315, True),
        (0.0, 1e-9, False),
        (math.nan, math.nan, True),
        (STALE_NAN, math.nan, False),
        (STALE_NAN, STALE_NAN, True),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
    ],
)
def test_almost_equal(a, b, same):
    """One part in a million, NaN equals NaN, the stale marker only itself."""
    assert almost_equal(a, b) is same


class OneAnswer:
    """An engine that always answers the same."""

    def __init__(self, value, warnings=(), infos=(), error=None):
        self.answer = Answer(value, warnings, infos)
        self.error = error

    def instant(self, query, at_ms):
        if self.error:
            raise self.error
        return self.answer

    range = instant


def run_against(engine, body, head="eval instant at 1m start() + up"):
    """Run one eval against an engine; start() keeps it from being asked as a range query too."""
    (failure,) = run_text(f"{head}\n{body}", lambda _: engine).failures or (None,)
    return failure.reason if failure else None


def vector(values, warnings=(), infos=(), error=None):
    """An engine that answers one series per value."""
    labels = tuple(labels_of("up", {"job": name}) for name in "abcdef"[: len(values)])
    return OneAnswer(Vector(60_000, labels, np.array(values)), warnings, infos, error)


def test_differences_are_told():
    """A missing, an extra and a different series each fail with their own sentence."""
    engine = vector([1.0, 2.0])
    assert run_against(engine, ' up{job="a"} 1\n up{job="b"} 2') is None
    assert "not expected" in run_against(engine, ' up{job="a"} 1')
    assert "missing" in run_against(engine, ' up{job="a"} 1\n up{job="b"} 2\n up{job="c"} 3')
    assert "expected 3, got 2" in run_against(engine, ' up{job="a"} 1\n up{job="b"} 3')
    assert "place 1" in run_against(engine, ' expect ordered\n up{job="b"} 2\n up{job="a"} 1')
    assert "expected a scalar" in run_against(engine, " 1")
    assert run_against(OneAnswer(Scalar(0, 1.5)), " 1.5") is None


def test_annotations_are_compared():
    """Each expect needs an annotation and each annotation an expect; positions count where the engine tells them."""
    engine = vector([], warnings=("PromQL warning: hot",))
    assert run_against(engine, " expect warn") is None
    assert run_against(engine, " expect warn msg: PromQL warning: hot (1:5)") is None
    assert run_against(engine, r" expect warn regex: h.t \(1:5\)") is None
    assert run_against(engine, " expect no_info") is None
    assert "expected no warn" in run_against(engine, " expect no_warn")
    assert "expected info" in run_against(engine, " expect info")
    assert "unexpected warn" in run_against(vector([], warnings=("a", "b")), " expect warn msg: a")
    placed = vector([], warnings=("PromQL warning: hot (1:5)",))
    assert run_against(placed, " expect warn msg: PromQL warning: hot") is None
    assert run_against(placed, " expect warn msg: PromQL warning: hot (1:5)") is None
    assert run_against(placed, r" expect warn regex: h.t \(1:5\)") is None
    assert "expected warn" in run_against(placed, " expect warn msg: PromQL warning: hot (1:6)")
    assert "expected warn" in run_against(placed, r" expect warn regex: h.t \(1:6\)")


def test_failures_are_expected_or_not():
    """An error passes only where it is expected, with its text if one is given."""
    failing = vector([], error=ExecutionError("too hot"))
    assert run_against(failing, " expect fail") is None
    assert run_against(failing, " expect fail msg: too hot") is None
    assert "expected the error" in run_against(failing, " expect fail msg: too cold")
    assert "raised ExecutionError" in run_against(failing, "")
    assert "expected to fail" in run_against(vector([]), " expect fail")
    assert "must not raise" in run_against(vector([], error=ZeroDivisionError()), "")


def test_an_instant_eval_is_also_asked_as_a_range():
    """An engine that answers both kinds differently does not pass."""

    class Torn:
        def instant(self, query, at_ms):
            return vector([1.0]).answer

        def range(self, query, start_ms, end_ms, step_ms):
            raise ExecutionError("no ranges here")

    result = run_text('eval instant at 0 up\n up{job="a"} 1', lambda _: Torn())
    assert "failed as a range query" in result.failures[0].reason


def test_an_instant_eval_is_also_pinned_and_asked_at_other_times():
    """With `@ t` on every selector the answer at other times is the same; upstream's times are asked."""

    class Recording:
        def __init__(self, pin_ms=None):
            self.asked, self.pin_ms = [], pin_ms

        def pinned(self, at_ms):
            self.child = Recording(at_ms)
            return self.child

        def instant(self, query, at_ms):
            self.asked.append(at_ms)
            late = self.pin_ms is not None and at_ms == 600_000
            return Answer(Vector(at_ms, (labels_of("up"),), np.array([2.0 if late else 1.0])))

        def range(self, query, start_ms, end_ms, step_ms):
            times = np.arange(start_ms, end_ms + 1, step_ms)
            return Answer(Matrix(times, (labels_of("up"),), np.ones((1, 3)), np.ones((1, 3), np.bool_)))

    engine = Recording()
    result = run_text("eval instant at 1m up\n up 1", lambda _: engine)
    assert "pinned to 60000 ms, asked at 600000 ms: up at step 0" in result.failures[0].reason
    assert (engine.asked, engine.child.pin_ms) == ([60_000], 60_000)
    assert engine.child.asked == [-600_000, 0, 12_000, 60_000, 600_000]
    untouched = Recording()
    assert not run_text("eval instant at 1m timestamp(up)\n up 1", lambda _: untouched).failures
    assert not hasattr(untouched, "child")


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ("up + up offset 1m", "up @ 60 + up offset 1m @ 60"),
        ("rate(up[5m])", "rate(up[5m] @ 60)"),
        ("up @ 5 + sum(up @ end())", "up @ 5 + sum(up @ end())"),
        ("sum_over_time(rate(up[1m])[5m:1m])", "sum_over_time(rate(up[1m])[5m:1m] @ 60)"),
        ("sum_over_time(up[5m:1m] @ 5)", "sum_over_time(up[5m:1m] @ 5)"),
        ("topk(scalar(up), -up)", "topk(scalar(up @ 60), -(up @ 60))"),
        ("1 + vector(2)", "1 + vector(2)"),
    ],
)
def test_pinning_a_query(query, same):
    """Each selector and subquery gets the time unless it has one; what is inside a subquery stays."""
    assert pinned(parse(query), 60_000) == parse(same)


GOOD = "load 1m\n up 1 2 3\n\neval instant at 2m up\n up 3\n"
BAD = "eval instant at 0 up\n up 9\n"


def test_paths_are_summed_up(tmp_path, capsys):
    """A line per file, a total, and status 0 only if all pass."""
    good, bad = tmp_path / "good.test", tmp_path / "bad.test"
    good.write_text(GOOD)
    bad.write_text(BAD)
    assert run_paths([str(good)], out=sys.stdout) == 0
    assert capsys.readouterr().out == f"{good} 1/1\ntotal 1/1\n"
    assert run_paths([str(tmp_path)], failures=1, out=sys.stdout) == 1
    out = capsys.readouterr().out
    assert f"{bad} 0/1" in out
    assert "up is missing" in out
    assert out.endswith("total 1/2\n")
    (tmp_path / "odd.test").write_text("what")
    assert run_paths([str(tmp_path)], out=sys.stdout) == 2
    assert "odd.test unreadable: line 1" in capsys.readouterr().out


def test_the_module_is_a_command(tmp_path):
    """`python -m ninesight_query.promqltest` runs files in a process of its own."""
    (tmp_path / "good.test").write_text(GOOD)
    command = [sys.executable, "-m", "ninesight_query.promqltest", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "total 1/1")


def test_clear_empties_the_store():
    """After clear nothing is left of what was loaded."""
    result = run_text(GOOD + "\nclear\n\neval instant at 2m up\n")
    assert (result.passed, result.total) == (2, 2)


def test_commands_are_values():
    """A script is data: the same text gives equal commands."""
    assert parse_script(BAD) == parse_script(BAD)
    assert isinstance(parse_script(BAD)[0], Eval)
    assert isinstance(parse_script("load 1m\n a 1")[0], Load)
    assert equal(Histogram(), parse_series("h {{}}").points[0])
