"""Queries made to hurt: each is refused, or answered within the deadline and a bound of memory.

They run in a process of their own, so that its memory can be read and nothing else suffers. Memory is bounded by
samples_max (2 million here) at 64 bytes each, and 192 MiB for one gathered part and the allocator.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES_MAX, DEADLINE_S = 2_000_000, 1.5
OVERSHOOT_S = 2.0
"""CPU between two looks at the clock: one step of numpy over all cells."""
MEMORY_MAX_MIB = SAMPLES_MAX * 64 // (1 << 20) + 192
FINE = "sin(vector(time()))[20m:3ms]"
"""1.6 million samples in a few windows."""


def nested(inner, outer, times):
    """Wrap a query many times."""
    for _ in range(times):
        inner = outer.format(inner)
    return inner


REFUSED = "refused"
BOMBS = {
    "a year by seconds": (0, "sum_over_time(m[1y:1s])", REFUSED),
    "raw by milliseconds": (0, "m[30d:1ms]", REFUSED),
    "nested subqueries": (0, nested("m", "max_over_time({}[1d:1m])", 6), REFUSED),
    "nested fine subqueries": (0, nested("vector(1)", "sum_over_time({}[1d:1s])", 40), REFUSED),
    "million steps": (1, "m", REFUSED),
    "too many cells": (330, "sum(rate(m[5m]))", REFUSED),
    "cross join": (0, "m * on() group_left m", REFUSED),
    "cross join by groups": (6_000, "m * on(g) group_left(k) m", REFUSED),
    "everything by everything": (0, '{__name__=~".+"} * ignoring(k, g) group_left {__name__=~".+"}', REFUSED),
    "a regex that backtracks": (0, 'm{long=~"(a+)+(b+)+c"}', "answered"),
    "a regex of stars": (0, 'm{long=~"(.*)*(.*)*(.*)*x"}', "answered"),
    "a regex of counts": (0, 'm{long=~"(((a{1,100}){1,100}){1,100}){1,100}"}', REFUSED),
    "a regex of alternatives": (0, 'm{long=~"' + "|".join(f"(a|b)*{i}" for i in range(1_500)) + '"}', ""),
    "many regexes": (0, "m{" + ",".join(f'k!~"({i}|a*)+"' for i in range(700)) + "}", ""),
    "captures that backtrack": (0, 'label_replace(m, "x", "$1", "long", "(.*.*.*.*.*.*)*z")', ""),
    "labels that double": (0, nested("m", 'label_replace({}, "long", "$1$1$1$1", "long", "(.*)")', 12), REFUSED),
    "labels that spread": (
        0,
        nested(
            'label_replace(m, "x", "' + "$1" * 1_200 + '", "long", "(.*)")',
            'label_join({}, "y", "-", "x", "k")',
            20,
        ),
        REFUSED,
    ),
    "a label of every value": (6_000, 'count_values("v", m * time())', REFUSED),
    "a quantile of every step": (1_000, 'histogram_quantiles(h_bucket, "q", time() / 1e9)', REFUSED),
    "deep brackets": (0, "(" * 5_000 + "m" + ")" * 5_000, REFUSED),
    "deep signs": (0, "-" * 16_000 + "1", REFUSED),
    "deep calls": (0, nested("m", "abs({})", 90), "answered"),
    "a long query": (0, "m + " * 5_000 + "m", REFUSED),
    "a long sum": (30_000, " + ".join(["m"] * 1_900), REFUSED),
    "a growing or": (30_000, " or ".join(f'label_replace(m, "x", "{i}", "", "")' for i in range(250)), REFUSED),
    "results that wait": (10_000, nested("m", "m + ({})", 60), REFUSED),
    "sums of sums": (6_000, nested("m", "sum by (k) ({})", 80), ""),
    "sorts of sorts": (0, nested("m", 'sort_by_label({}, "k", "long")', 90), ""),
    "medians of everything": (6_000, "sum(mad_over_time(m[1h]))", ""),
    "smoothing everything": (6_000, "sum(double_exponential_smoothing(m[1h], 0.5, 0.5))", ""),
    "fine median": (3_600, f"mad_over_time({FINE})", REFUSED),
    "fine quantile": (330, f"quantile_over_time(0.5, {FINE})", REFUSED),
    "fine line": (330, f"predict_linear({FINE}, 60)", REFUSED),
    "fine smoothing": (330, f"double_exponential_smoothing({FINE}, 0.5, 0.5)", REFUSED),
    "fine mean": (330, f"avg_over_time({FINE})", REFUSED),
    "a duration without end": (0, "rate(m[999999999999w])", REFUSED),
    "a time without end": (0, "m @ 1e300", REFUSED),
    "labels without end": (0, "m * on(k) group_left(" + ",".join(f"l{i}" for i in range(2_000)) + ") m", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():
    """What became of each, from one process."""
    lines = "".join(json.dumps([name, step_ms, query]) + "\n" for name, (step_ms, query, _) in BOMBS.items())
    child = Path(__file__).parent / "bomb_process.py"
    done = subprocess.run(
        [sys.executable, str(child), str(SAMPLES_MAX), str(DEADLINE_S)],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    found = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert len(found) == len(BOMBS), f"the process ended early: {done.stderr[-2_000:]}"
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_no_harm(name, outcomes):
    """Refused with an error that says the way out, or answered; never late, never large."""
    outcome, spent_s, mib = outcomes[name]
    wanted = BOMBS[name][2]
    assert "ExecutionError: evaluating" not in outcome, "an unforeseen error is no refusal"
    if wanted:
        assert (outcome != "answered") is (wanted == REFUSED), outcome
    assert spent_s < DEADLINE_S + OVERSHOOT_S, outcome
    assert mib < MEMORY_MAX_MIB, outcome
