"""The engine against Prometheus' own test files, and against ours.

The files lie outside the project: `../shared/conformance/promql` beside the repository, or where
NINESIGHT_CONFORMANCE points. What does not pass yet stands in conformance_gaps.toml with its reason; the
list can only shrink: an entry that passes fails here, and so does a failure that is not listed.
"""

import os
import random
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ninesight_query import EngineSettings, LocalEngine
from ninesight_query.promqltest import parse_script, run_commands, run_file
from ninesight_query.promqltest.derive import as_written, halved, moved, permuted, renamed
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.worlds import AsWritten, Halves, Kept, Rolled, Scattered
from ninesight_query.settings import Rollups
from ninesight_query.testing import engine_over
from ninesight_store import LocalStore
from ninesight_store.testing import MemoryStore

from .. import needs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = Path(os.environ.get("NINESIGHT_CONFORMANCE") or ROOT.parent / "shared/conformance/promql")
FILES = sorted(path.name for path in FOLDER.glob("*.test"))
GAPS = tomllib.loads((HERE / "conformance_gaps.toml").read_text())["gap"]
CASES = sorted((HERE / "cases").glob("*.test"))


def listed(name):
    """The lines of one file that are known not to pass."""
    return {line for gap in GAPS if gap["file"] == name for line in gap["lines"]}


@pytest.fixture
def files():
    """The names of upstream's files."""
    needs.given(FILES, f"the conformance files are not at {FOLDER}: NINESIGHT_CONFORMANCE says where")
    return FILES


@pytest.mark.parametrize("name", FILES or ["none"])
def test_upstream_file(name, files):
    """Every eval of an upstream file passes, but for those listed with a reason."""
    result = run_file(FOLDER / name)
    failed = {failure.line: failure for failure in result.failures}
    unlisted = [str(failure) for line, failure in failed.items() if line not in listed(name)]
    assert not unlisted, "these passed before:\n" + "\n\n".join(unlisted)
    passing = sorted(listed(name) - set(failed))
    assert not passing, f"{name} lines {passing} pass now: take them out of conformance_gaps.toml"
    assert result.total > 0


def test_every_gap_has_a_reason():
    """A gap names its file, its lines and why it is one."""
    for gap in GAPS:
        assert set(gap) == {"file", "lines", "reason"}
        assert len(gap["reason"]) > 40
        assert gap["lines"]
        assert not FILES or gap["file"] in FILES


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_our_own_file(path):
    """Every promise about our own series holds."""
    result = run_file(path)
    assert not result.failures, "\n\n".join(map(str, result.failures))
    assert result.total > 0


def test_there_are_cases_of_our_own():
    """The folder was found."""
    assert len(CASES) >= 4


MOVED_MS = 2520 * 143 * 3_600_000
"""41 years: a multiple of every step up to 13 hours and then some, so that subqueries keep their grid."""
WORLDS = {
    "moved": lambda commands: moved(commands, MOVED_MS),
    "renamed": renamed,
    "permuted": lambda commands: permuted(commands, random.Random(5)),
    "halved": halved,
    "scattered": as_written,
    "kept": as_written,
    "rolled": as_written,
}
WITHOUT_STARTS = ("kept", "rolled")
"""What a store keeps between queries, and what it sums up, has no start timestamps."""
BIN_MS = 120_000
CHANGED = [
    pytest.param(world, path, id=f"{path.name}-{world}")
    for path in [*(FOLDER / name for name in FILES), *CASES]
    for world in WORLDS
    if path.name != "start_timestamps.test" or world not in WITHOUT_STARTS
]
LEFT_OUT_MAX = {
    "moved": 70,
    "renamed": 60,
    "permuted": 0,
    "halved": 40,
    "scattered": 0,
    "kept": 0,
    "rolled": 0,
}


def in_world(world, path, folder):
    """Run one file in a changed world."""
    derived = WORLDS[world](parse_script(path.read_text()))
    settings = EngineSettings(
        delayed_name_removal=True, use_start_timestamps=world not in WITHOUT_STARTS, rollups=Rollups.ALWAYS
    )
    stores = []

    def engine(source):
        local = LocalEngine(source, settings, rewrite=derived.rewrite)
        return Halves(local) if world == "halved" else AsWritten(local)

    def store():
        if world not in ("scattered", "kept", "rolled"):
            return MemoryStore()
        for old in stores:
            old.close()
        stores[:] = [LocalStore(f"sqlite:///{folder}/{len(list(folder.iterdir()))}.db")]
        if world == "rolled":
            return Rolled(stores[0], BIN_MS)
        return Kept(stores[0]) if world == "kept" else Scattered(stores[0])

    try:
        return run_commands(derived.commands, engine, store, path=path.name), derived
    finally:
        for old in stores:
            old.close()


@pytest.mark.parametrize(("world", "path"), CHANGED)
def test_a_changed_world_changes_no_answer(world, path, tmp_path):
    """All times moved, labels renamed, series permuted, ranges halved, samples hot, sealed, merged, kept, summed up."""
    result, _ = in_world(world, path, tmp_path)
    wrong = [str(failure) for failure in result.failures if failure.line not in listed(path.name)]
    assert not wrong, f"{world}: {len(wrong)} of {result.total}\n" + "\n\n".join(wrong)


@pytest.mark.parametrize("world", WORLDS)
def test_few_evals_are_left_out(world, files):
    """Each with a reason that names the function at fault."""
    derived = [WORLDS[world](parse_script((FOLDER / name).read_text())) for name in files]
    why_not = [why for each in derived for _, why in each.why_not]
    assert len(why_not) <= LEFT_OUT_MAX[world]
    assert all("(" in why or "limit" in why for why in why_not)


SMALL = """
load 1m
  up{job="a", zone="b"} 0+60x10
  up{job="c", zone="d"} 9 8 7 6 5
  h {{count:1 buckets:[1]}}+{{count:1 buckets:[1]}}x10

eval instant at 5m sum by (zone) (rate(up{zone="b"}[3m] @ 300))
  {zone="b"} 1

eval range from 1m to 4m step 1m label_replace(up{zone="d"}, "x", "$1", "zone", "(.*)")
  up{job="c", zone="d", x="d"} 8 7 6 5

eval instant at 5m time()
  300
"""


def test_each_world_is_another_one(tmp_path):
    """What was changed is seen by the engine: without the same change of the query the answers are gone."""
    path = tmp_path / "small.test"
    path.write_text(SMALL)
    for world in WORLDS:
        folder = tmp_path / world
        folder.mkdir()
        result, derived = in_world(world, path, folder)
        assert not result.failures, (world, result.failures)
        assert len(derived.why_not) == (world == "moved")
    for world in ("moved", "renamed"):
        derived = WORLDS[world](parse_script(SMALL))
        result = run_commands(derived.commands, LocalEngine, MemoryStore)
        assert len(result.failures) >= 1, world


def test_scattered_samples_lie_everywhere(tmp_path):
    """One load ends merged, sealed and hot, histograms too; nothing is lost."""
    (load, *_) = parse_script(SMALL)
    with LocalStore(f"sqlite:///{tmp_path}/one.db") as store:
        Loader(Scattered(store)).load(load)
        stat = store.stat()
        assert stat.hot_samples > 0
        assert stat.sealed_samples > 0
        assert stat.sealed_points > 0
        assert stat.counters["chunks_merged"] > 0
        found = store.select([], 0, 10**9)
        assert (len(found.timestamps), len(found.histograms)) == (16, 11)


def test_rolled_samples_are_read_as_bins(tmp_path):
    """Whatever bins can answer is asked of them, in bins that are narrower than a window."""
    commands = parse_script(SMALL)
    with LocalStore(f"sqlite:///{tmp_path}/one.db") as store:
        source = Rolled(store, BIN_MS)
        settings = EngineSettings(rollups=Rollups.ALWAYS)
        result = run_commands(commands, lambda source: LocalEngine(source, settings), lambda: source)
        assert not result.failures
        assert source.asked > 2
        everything = source.rollup([], 0, 600_000, np.zeros(0, np.int64), ())
        assert len(everything.bins) == 6 + 3


def test_a_range_in_halves_is_asked_twice():
    """Steps are split without overlap; histograms and absent points keep their places."""
    spans = []

    class Inner:
        def range(self, query, start_ms, end_ms, step_ms):
            spans.append((start_ms, end_ms, step_ms))
            return engine_over(SMALL.split("eval", maxsplit=1)[0]).range(query, start_ms, end_ms, step_ms)

    halves = Halves(Inner()).range("{__name__=~'up|h'}", 0, 600_000, 100_000).value
    assert spans == [(0, 200_000, 100_000), (300_000, 600_000, 100_000)]
    whole = (
        engine_over(SMALL.split("eval", maxsplit=1)[0]).range("{__name__=~'up|h'}", 0, 600_000, 100_000).value
    )
    assert halves.labels == whole.labels
    assert np.array_equal(halves.present, whole.present)
    assert np.array_equal(halves.values[halves.present], whole.values[whole.present])
    assert halves.histograms.keys() == whole.histograms.keys()
