"""`ninesight up` with no configuration is already useful: it receives, stores, answers, shows, and stops in order."""

import shutil
import subprocess
import sys

import httpx2
import pytest
from ninesight_suite.testing import BROWSER_ARGUMENTS, eventually, gauge_request, now_ms, push, running_suite


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with running_suite(tmp_path_factory.mktemp("up")) as running:
        yield running


def test_it_answers_before_any_data(suite):
    """Health, the build and a query without series are answered at once."""
    assert suite.client.get(f"{suite.api_url}/-/healthy").status_code == 200
    info = suite.client.get(f"{suite.api_url}/api/v1/status/buildinfo").json()
    assert info["status"] == "success"
    assert suite.query("1 + 1")[1] == "2"
    assert suite.query("model_requests_total") == []


def test_what_is_pushed_can_be_asked(suite):
    """An acknowledged OTLP point is there for the next query, with job and attributes as labels."""
    at_ms = now_ms()
    answer = push(suite.client, suite.api_url, gauge_request("pushed", 4.5, at_ms, colour="red"))
    assert answer.status_code == 200
    (row,) = suite.query('pushed{colour="red"}')
    assert row["metric"]["job"] == "test"
    assert row["value"][1] == "4.5"


@pytest.mark.parametrize("body", [b"garbage", b"\xff" * 100])
def test_garbage_is_refused_and_the_process_goes_on(suite, body):
    """Bad bytes are 400 with a sentence; the next good request is taken."""
    answer = push(suite.client, suite.api_url, body)
    assert answer.status_code == 400
    assert push(suite.client, suite.api_url, gauge_request("after", 1.0, now_ms())).status_code == 200


def test_bad_promql_is_told(suite):
    """A query that is none gets 400, bad_data and words."""
    answer = suite.client.post(f"{suite.api_url}/api/v1/query", data={"query": "sum(("})
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "bad_data"


def test_unknown_paths_point_the_way(suite):
    """A path that is none is 404 in JSON with the paths that are."""
    answer = suite.client.get(f"{suite.api_url}/nothing")
    assert answer.status_code == 404
    assert "/api/v1/query" in answer.json()["error"]


def test_the_first_run_page_says_what_to_point_at_it(suite, real):
    """In Chromium the page names the receiver's address and the decorator, and logs no error."""
    from playwright.sync_api import sync_playwright

    chromium = real("chromium")
    assert eventually(lambda: page_answers(suite), what="the pages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        page = browser.new_page()
        errors = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(suite.pages_url)
        page.get_by_text("@ninesight.observe").first.wait_for(timeout=60_000)
        assert suite.api_url in page.inner_text("body")
        browser.close()
    assert errors == []


def page_answers(suite):
    """True when the pages are served."""
    try:
        return suite.client.get(suite.pages_url + "/").status_code == 200
    except httpx2.HTTPError:
        return False


def test_targets_and_store_are_visible(suite):
    """The status endpoints list what is watched and what the store holds."""
    targets = suite.client.get(f"{suite.api_url}/api/v1/targets").json()["data"]["activeTargets"]
    assert {target["kind"] for target in targets} >= {"host", "otlp"}
    push(suite.client, suite.api_url, gauge_request("seen", 1.0, now_ms()))
    stat = suite.client.get(f"{suite.api_url}/api/v1/status/tsdb").json()["data"]
    assert stat["store"]["series"] >= stat["headStats"]["numSeries"] > 0


def test_promtool_works_against_it(suite, real):
    """Debian's promtool asks instant and range queries and gets Prometheus' answers."""
    promtool = real("prometheus", "promtool")
    push(suite.client, suite.api_url, gauge_request("tooled", 7.0, now_ms() - 5000))
    instant = subprocess.run(
        [promtool, "query", "instant", suite.api_url, "tooled * 2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert instant.returncode == 0, instant.stderr
    assert "=> 14 @" in instant.stdout
    end = now_ms() // 1000
    ranged = subprocess.run(
        [
            promtool,
            "query",
            "range",
            f"--start={end - 60}",
            f"--end={end + 1}",
            "--step=5s",
            suite.api_url,
            "tooled",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ranged.returncode == 0, ranged.stderr
    assert 'tooled{job="test"}' in ranged.stdout


def test_the_query_command_asks_it(suite):
    """`ninesight query` prints a table; bad PromQL is one line and exit code 2."""
    push(suite.client, suite.api_url, gauge_request("asked", 3.0, now_ms()))
    command = [sys.executable, "-m", "ninesight_suite.cli", "query", "--url", suite.api_url]
    good = subprocess.run([*command, "asked + 1"], capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert "4" in good.stdout
    bad = subprocess.run([*command, "sum(("], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.startswith("ninesight: bad_data")


def test_it_stops_in_order_and_keeps_everything(tmp_path):
    """SIGTERM ends it with 0 and no process left; what was acknowledged is there after the next start."""
    with running_suite(tmp_path) as first:
        assert push(first.client, first.api_url, gauge_request("kept", 9.0, now_ms())).status_code == 200
        assert first.child.stop() == 0
    with running_suite(tmp_path) as second:
        assert second.value("last_over_time(kept[1h])") == 9.0


def test_a_taken_port_is_one_line(suite, tmp_path):
    """A second suite on the same port ends with 2 and says which key to change."""
    address = suite.api_url.removeprefix("http://")
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "ninesight_suite.cli",
            "up",
            "--listen",
            address,
            "--data-dir",
            str(tmp_path / "d"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 2
    assert f"cannot listen on {address}" in found.stderr
    assert "Traceback" not in found.stderr
    shutil.rmtree(tmp_path)
