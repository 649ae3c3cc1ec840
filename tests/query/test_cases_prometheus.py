"""Our own promises are Prometheus' promises: the case files, asked of a real Prometheus over the same samples.

Left out is what Debian's Prometheus (2.42) does not know: newer functions and modifiers, and series with stale
markers, which promtool cannot write. Windows in these files are such that no sample lies on an edge.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ninesight_query import RemoteEngine, RemoteSettings, ir, parse
from ninesight_query.errors import QueryError
from ninesight_query.promqltest import parse_script
from ninesight_query.promqltest.compare import describe, difference
from ninesight_query.promqltest.derive import moved
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.script import Eval, Load
from ninesight_query.testing_servers import running_prometheus
from ninesight_store.contract import stale_in
from ninesight_store.matchers import compile_matchers, labels_match
from ninesight_store.memory import MemoryStore

CASES = Path(__file__).parent / "cases"
FILES = {"elementwise": 40, "dates": 7, "aggregations": 40, "windows": 35, "matching": 24, "selectors": 8}
"""Evals that must at least be left of each file."""
MOVED_MS = 17 * 3_600_000 * 26_143
"""2020: Prometheus keeps nothing from 1970. A multiple of every step of a subquery."""
NEWER = re.compile(
    r"\b(?:fill|fill_left|fill_right|limitk|limit_ratio|sort_by_label\w*|mad_over_time|first_over_time"
    r"|ts_of_\w+|double_exponential_smoothing)\b"
)

CHANGED = {
    'v{k=~"one|zero|-inf"} atan2 -1': "atan2 with a number kept the name then; it is arithmetic like + and %",
    "year(t)": "the year of NaN is what the processor makes of it, 292277026596 there; here it is NaN",
    "stdvar by (a) (n)": "the variance of a single NaN was 0 until Prometheus 3",
}
"""Evals that Prometheus 2.42 answers otherwise, and why we do not."""


def pinned_later(query):
    """Move the times behind `@`."""
    return re.sub(r"@ (\d+)", lambda found: f"@ {int(found.group(1)) + MOVED_MS // 1000}", query)


def stale_series(columns):
    """The series that hold a stale marker."""
    stale = stale_in(columns.values)
    return {
        labels
        for row, labels in enumerate(columns.labels)
        if stale[columns.offsets[row] : columns.offsets[row + 1]].any()
    }


def touches(query, labels):
    """Whether a selector of the query matches one of the series."""
    try:
        selectors = [node for node in ir.walk(parse(query)) if isinstance(node, ir.Selector)]
    except QueryError:
        return False
    return any(labels_match(compile_matchers(each.matchers), one) for each in selectors for one in labels)


def open_metrics(columns):
    """Samples as promtool reads them."""
    lines = []
    for row, labels in enumerate(columns.labels):
        own = slice(int(columns.offsets[row]), int(columns.offsets[row + 1]))
        name = dict(labels)["__name__"]
        body = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
        for time, value in zip(columns.timestamps[own], columns.values[own], strict=True):
            number = "NaN" if np.isnan(value) else str(float(value)).replace("inf", "Inf")
            lines.append(f"{name}{{{body}}} {number} {time / 1000:.3f}")
    return "\n".join([*lines, "# EOF", ""])


@pytest.mark.parametrize("name", FILES)
def test_prometheus_keeps_our_promises(name, real, tmp_path):
    """Every eval of a file that it can answer."""
    binary, promtool = real("prometheus"), real("promtool")
    commands = moved(parse_script((CASES / f"{name}.test").read_text()), MOVED_MS).commands
    (load,) = (command for command in commands if isinstance(command, Load))
    store = MemoryStore()
    Loader(store).load(load)
    columns = store.select([], 0, 1 << 60)
    stale = stale_series(columns)
    (tmp_path / "data.om").write_text(open_metrics(columns))
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*command, str(tmp_path / "data.om"), str(tmp_path / "tsdb")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    asked, wrong = 0, []
    with running_prometheus(binary, tmp_path) as address:
        engine = RemoteEngine(RemoteSettings(address, timeout_s=30.0))
        for each in commands:
            if not isinstance(each, Eval) or each.query in CHANGED:
                continue
            if NEWER.search(each.query) or touches(each.query, stale):
                continue
            asked += 1
            query, grid = pinned_later(each.query), each.grid
            try:
                answer = (
                    engine.range(query, grid.start_ms, grid.end_ms, grid.step_ms)
                    if grid
                    else engine.instant(query, each.at_ms)
                )
            except QueryError as error:
                if not each.fails:
                    wrong.append(f"{each.line}: {query}: {error}")
                continue
            why = "it should fail" if each.fails else difference(each, answer.value)
            if why:
                wrong.append(f"{each.line}: {query}: {why}\n{describe(answer.value)}")
        engine.close()
    assert not wrong, "\n".join(wrong)
    assert asked >= FILES[name]
