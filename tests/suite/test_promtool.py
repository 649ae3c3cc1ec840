"""Debian's promtool as an on-call person's tool against a running suite."""

import functools
import subprocess

import pytest
from ninesight_suite.testing import gauge_request, now_ms, push, running_suite


@functools.cache
def at_ms():
    """When the samples were taken: as the first test begins, not as the file is imported (minutes before)."""
    return now_ms() // 1000 * 1000 - 10_000


def at_s():
    return at_ms() // 1000


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    with running_suite(tmp_path_factory.mktemp("promtool")) as running:
        for model, value in (("a", 1.5), ("b", 2.5)):
            body = gauge_request("tooled", value, at_ms(), model=model)
            assert push(running.client, running.api_url, body).status_code == 200
        yield running


@pytest.fixture
def promtool(real):
    """`promtool(...)` gives (exit code, output, errors)."""
    binary = real("prometheus", "promtool")

    def run(*arguments):
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_instant(suite, promtool):
    """A vector, a scalar, and JSON for scripts."""
    code, out, errors = promtool("query", "instant", f"--time={at_s()}", suite.api_url, "sort(tooled * 2)")
    assert (code, errors) == (0, "")
    assert out == f'{{job="test", model="a"}} => 3 @[{at_s()}]\n{{job="test", model="b"}} => 5 @[{at_s()}]\n'
    assert (
        promtool("query", "instant", f"--time={at_s()}", suite.api_url, "1 + 1")[1]
        == f"scalar: 2 @[{at_s()}]\n"
    )
    code, out, _ = promtool(
        "query", "instant", "-o", "json", f"--time={at_s()}", suite.api_url, "sum(tooled)"
    )
    assert (code, out) == (0, f'[{{"metric":{{}},"value":[{at_s()},"4"]}}]\n')


def test_range(suite, promtool):
    """A matrix over a span."""
    span = (f"--start={at_s()}", f"--end={at_s() + 10}", "--step=5s")
    code, out, errors = promtool("query", "range", *span, suite.api_url, "sum(tooled)")
    assert (code, errors) == (0, "")
    assert out == f"{{}} =>\n4 @[{at_s()}]\n4 @[{at_s() + 5}]\n4 @[{at_s() + 10}]\n"


def test_series_and_labels(suite, promtool):
    """What is there, by selector and span."""
    span = (f"--start={at_s() - 60}", f"--end={at_s() + 60}")
    code, out, errors = promtool("query", "series", "--match=tooled", *span, suite.api_url)
    assert (code, errors) == (0, "")
    assert out.splitlines() == [f'{{__name__="tooled", job="test", model="{model}"}}' for model in "ab"]
    code, out, errors = promtool("query", "labels", *span, suite.api_url, "model")
    assert (code, errors, out.split()) == (0, "", ["a", "b"])
    assert promtool("query", "labels", *span, "--match=tooled", suite.api_url, "job")[1].split() == ["test"]


@pytest.mark.parametrize("query", ["sum((", "tooled + on () tooled"])
def test_mistakes(suite, promtool, query):
    """Exit code 1, and our words."""
    code, out, errors = promtool("query", "instant", suite.api_url, query)
    assert (code, out) == (1, "")
    assert "error" in errors


@pytest.mark.parametrize("check", ["healthy", "ready"])
def test_checks(suite, promtool, check):
    """`check healthy` and `check ready` want 200 at `/-/...`; promtool has the commands since 2.44 only."""
    assert suite.client.get(f"{suite.api_url}/-/{check}").status_code == 200
    if f"check {check}" in "".join(promtool("--help")[1:]):
        code, out, errors = promtool("check", check, f"--url={suite.api_url}")
        assert code == 0, errors
        assert "SUCCESS" in out
