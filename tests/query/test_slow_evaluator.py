"""The slow evaluator itself: whatever it can answer is as Prometheus' own test files say."""

import os
from dataclasses import replace
from pathlib import Path

from ninesight_query.contract import Scalar
from ninesight_query.errors import QueryError
from ninesight_query.promqltest import parse_script
from ninesight_query.promqltest.compare import difference
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.script import Clear, Load
from ninesight_query.testing import SlowEngine, matrix_of, vector_of
from ninesight_store.memory import MemoryStore

from .. import needs

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("NINESIGHT_CONFORMANCE") or HERE.parents[1].parent / "shared/conformance/promql")
NOT_FLOATS = {"start_timestamps.test"}
ROUNDED = {("functions.test", "avg_over_time(metric11[1m])")}
"""Prometheus' compensated sum of huge terms that cancel; the slow evaluator does not round."""


def floats_of(store):
    """All float series of a store as lists, and whether it also holds histograms."""
    columns = store.select([], -(10**15), 10**15)
    series = {}
    for row, name in enumerate(columns.labels):
        own = slice(int(columns.offsets[row]), int(columns.offsets[row + 1]))
        series[name] = list(zip(columns.timestamps[own].tolist(), columns.values[own].tolist(), strict=True))
    return series, bool(len(columns.histograms))


def slow_value(slow, command):
    """The slow evaluator's answer to an eval, in the contract's form."""
    if command.grid is None:
        found = slow.instant(command.query, command.at_ms)
        if command.scalar is not None:
            return Scalar(command.at_ms, found[()])
        return vector_of(command.at_ms, found)
    grid = command.grid
    steps = (grid.end_ms - grid.start_ms) // grid.step_ms + 1
    rows = {}
    for (name, time), value in slow.range(command.query, grid.start_ms, grid.end_ms, grid.step_ms).items():
        rows.setdefault(name, [None] * steps)[(time - grid.start_ms) // grid.step_ms] = value
    return matrix_of(grid.start_ms, grid.step_ms, rows)


def test_the_slow_evaluator_holds_prometheus_promises():
    """Whatever it can answer over floats is as Prometheus' own files say: hundreds of evals."""
    needs.given(
        FOLDER.is_dir(), f"the conformance files are not at {FOLDER}: NINESIGHT_CONFORMANCE says where"
    )
    wrong, held = [], 0
    for path in sorted(FOLDER.glob("*.test")):
        store, slow, mixed = MemoryStore(), None, False
        for command in parse_script(path.read_text()):
            if isinstance(command, Clear):
                store, slow = MemoryStore(), None
            elif isinstance(command, Load):
                Loader(store).load(command)
                slow = None
            else:
                if slow is None:
                    series, mixed = floats_of(store)
                    slow = SlowEngine(series, delayed_name_removal=True)
                if mixed or command.string is not None or command.matrix or path.name in NOT_FLOATS:
                    continue
                try:
                    differs = difference(replace(command, ordered=False), slow_value(slow, command))
                except QueryError as error:
                    held += command.fails
                    if not command.fails and "slow evaluator" not in str(error):
                        wrong.append(f"{path.name}:{command.line} {command.query}: {error}")
                    continue
                if (differs or command.fails) and (path.name, command.query) not in ROUNDED:
                    wrong.append(f"{path.name}:{command.line} {command.query}: {differs}")
                held += not differs
    assert not wrong, "\n".join(wrong)
    assert held > 400
