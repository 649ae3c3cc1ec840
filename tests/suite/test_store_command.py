"""`ninesight store`: the store looked after from the command line, with mistakes told in one line."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest
from ninesight_store import LocalStore, StoreSettings
from ninesight_store.testing import batch_of
from ninesight_suite.commands import app
from ninesight_suite.errors import SuiteError
from typer.testing import CliRunner

HOUR_MS = 3_600_000


@pytest.fixture
def folder(tmp_path):
    """A data folder with an hour of two series, sealed."""
    (tmp_path / "data").mkdir()
    with LocalStore(tmp_path / "data" / "ninesight.db", StoreSettings(seal_after_ms=0)) as store:
        store.write(batch_of({name: [(t * 60_000, t / 7) for t in range(60)] for name in ("up", "down")}))
        store.seal(2 * HOUR_MS)
    return tmp_path / "data"


def run(*words):
    result = CliRunner().invoke(app, ["store", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_stat_shows_what_is_there(folder):
    """Series, samples and ages, of a folder or a file."""
    for place in (folder, folder / "ninesight.db", f"sqlite:///{folder / 'ninesight.db'}"):
        shown = run("stat", "--store", place).output
        assert "120 (0 not compressed yet)" in shown
        assert "1970-01-01 00:59:00Z" in shown


def test_backup_restore_verify(folder, tmp_path):
    """A backup is restored into an empty folder, and both verify."""
    assert run("backup", tmp_path / "copy.db", "--store", folder).exit_code == 0
    (tmp_path / "new").mkdir()
    restored = run("restore", tmp_path / "copy.db", tmp_path / "new")
    assert "verified" in restored.output
    verified = run("verify", "--store", tmp_path / "new")
    assert verified.exit_code == 0
    assert "0 rows, 1 chunks and 0 rollups of 120 samples read\nsound\n" in verified.output


def test_verify_lists_damage(folder):
    """A damaged chunk is named with its span and series, and the exit code says so."""
    with sqlite3.connect(folder / "ninesight.db") as connection:
        connection.execute("UPDATE store_chunks SET data = zeroblob(length(data))")
    connection.close()
    found = run("verify", "--store", folder)
    assert found.exit_code == 1
    assert "chunk 1: 1970-01-01 00:00:00Z .. 1970-01-01 00:59:00Z" in found.output
    assert "down{}" in found.output
    assert "up{}" in found.output


def test_export_to_a_file_and_by_the_configuration(folder, tmp_path):
    """The store is found by the configuration; lines go to a new file only."""
    config = tmp_path / "ninesight.yaml"
    config.write_text("data_dir: data\n")
    words = ("export", "up", "--range", "30m", "--time", "3540", "-c", config, "--out", tmp_path / "up.jsonl")
    assert run(*words).exit_code == 0
    (line,) = map(json.loads, (tmp_path / "up.jsonl").read_text().splitlines())
    assert line["labels"] == {"__name__": "up"}
    assert line["timestamps"][0] == 1_740_000
    with pytest.raises(SuiteError, match="must not exist yet; name another file"):
        run(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stat", "--store", "{0}/nothing.db"), r"no store at .*nothing.db; name it with --store FILE"),
        (("stat", "--store", "{0}/data", "--config", "x"), "got both; leave one out"),
        (("backup", "{0}/data/ninesight.db", "--store", "{0}/data"), "must not exist yet"),
        (("restore", "{0}/data/ninesight.db", "{0}/data"), "must be empty or absent, it holds files"),
        (("export", "sum(up)", "--store", "{0}/data"), "SELECTOR: a plain series selector is needed"),
        (
            ("export", "up", "--store", "{0}/data", "--format", "csv"),
            "--format must be one of jsonl, openmetrics",
        ),
        (("export", "up", "--store", "{0}/data", "--range", "1 day"), "--range must be a duration"),
        (("verify", "--store", "{0}/text.db"), "not a usable ninesight store"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, tmp_path, words, message):
    """What must hold, what was given, the way out."""
    (tmp_path / "text.db").write_text("some text, long enough to be no database at all\n" * 20)
    with pytest.raises(SuiteError, match=message) as caught:
        run(*(word.format(tmp_path) for word in words))
    assert "\n" not in str(caught.value)


def test_export_into_a_pipe_that_closes(folder):
    """`| head` ends quietly."""
    program = (
        f"{sys.executable} -m ninesight_suite.cli store export up --range all --store {folder} | head -c 10"
    )
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert len(found.stdout) == 10
    assert "Traceback" not in found.stderr
