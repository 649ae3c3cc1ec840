"""The whole suite on one PostgreSQL database: two processes, one store, and nobody sees the password."""

import pytest
from ninesight_store import LocalStore
from ninesight_store.testing import batch_of
from ninesight_suite.commands import app
from ninesight_suite.errors import SuiteError
from ninesight_suite.testing import eventually, gauge_request, now_ms, push, running_suite
from typer.testing import CliRunner

RULES = """
groups:
- name: g
  interval: 1s
  rules:
  - {alert: TooMuch, expr: pushed > 3}
  - {record: "pushed:doubled", expr: pushed * 2}
"""


def test_two_suites_share_a_database(postgres, tmp_path):
    """What one receives the other answers; rules, alerts and pages work; logs and pages hold no password."""
    url = postgres.url()
    (tmp_path / "rules.yml").write_text(RULES)
    config = {"store": {"url": url}}
    with_rules = config | {"alerts": {"rule_files": [str(tmp_path / "rules.yml")]}}
    with (
        running_suite(tmp_path / "one", with_rules) as one,
        running_suite(tmp_path / "two", config) as two,
    ):
        assert push(one.client, one.api_url, gauge_request("pushed", 4.5, now_ms())).status_code == 200
        (row,) = two.query("pushed")
        assert row["value"][1] == "4.5"
        assert push(two.client, two.api_url, gauge_request("second", 1.0, now_ms())).status_code == 200
        assert one.query("second")[0]["value"][1] == "1"
        assert eventually(lambda: two.query("pushed:doubled"), what="the recorded series")
        alerts = eventually(
            lambda: one.client.get(f"{one.api_url}/api/v1/alerts").json()["data"]["alerts"], what="the alert"
        )
        assert alerts[0]["labels"]["alertname"] == "TooMuch"
        assert eventually(lambda: one.client.get(f"{one.pages_url}/").status_code == 200, what="the pages")
        shown = one.client.get(f"{one.api_url}/api/v1/status/config").text
    for text in (shown, *(path.read_text() for path in tmp_path.glob("*/suite.log"))):
        assert "s3cret" not in text
    with LocalStore(url, read_only=True) as store:
        assert store.stat().series > 3


def run(*words):
    result = CliRunner().invoke(app, ["store", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_line_takes_an_address(postgres, tmp_path):
    """`ninesight store` reads a PostgreSQL store, shows its version, and says which tool copies it."""
    url = postgres.url()
    with LocalStore(url) as store:
        store.write(batch_of({"up": [(1000, 1.0)]}))
    assert "format" in run("stat", "--store", url)
    assert "sound" in run("verify", "--store", url)
    run("export", "up", "--range", "all", "--store", url, "--out", tmp_path / "out.jsonl")
    assert '"values":[1.0]' in (tmp_path / "out.jsonl").read_text()
    with pytest.raises(SuiteError, match="pg_dump") as caught:
        run("backup", tmp_path / "copy.db", "--store", url)
    assert "s3cret" not in str(caught.value)
