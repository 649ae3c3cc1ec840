"""The engine against Prometheus' own test files, and against ours.

The files lie outside the project: `../shared/conformance/promql` beside the repository, or where
NINESIGHT_CONFORMANCE points. What does not pass yet stands in conformance_gaps.toml with its reason; the
list can only shrink: an entry that passes fails here, and so does a failure that is not listed.
"""

import os
import tomllib
from pathlib import Path

import pytest
from ninesight_query.promqltest import run_file

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = Path(os.environ.get("NINESIGHT_CONFORMANCE") or ROOT.parent / "shared/conformance/promql")
FILES = sorted(path.name for path in FOLDER.glob("*.test"))
GAPS = tomllib.loads((HERE / "conformance_gaps.toml").read_text())["gap"]
CASES = sorted((HERE / "cases").glob("*.test"))


def listed(name):
    """The lines of one file that are known not to pass."""
    return {line for gap in GAPS if gap["file"] == name for line in gap["lines"]}


@pytest.mark.skipif(not FILES, reason=f"the conformance files are not at {FOLDER}")
@pytest.mark.parametrize("name", FILES or ["none"])
def test_upstream_file(name):
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
