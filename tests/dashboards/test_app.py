"""The page server over HTTP: what it answers, and what it refuses."""

import json

import pytest
from ninesight_dashboards.config import PagesConfig
from ninesight_dashboards.contract import PagesSettings
from ninesight_dashboards.errors import PagesConfigError
from ninesight_dashboards.first_run import decorator_snippet, scrape_snippet
from ninesight_dashboards.opening import ask_of
from pydantic import ValidationError

from .conftest import LiveServer


@pytest.fixture
def server(world):
    with LiveServer(world) as live:
        yield live


def test_known_paths_answer_and_unknown_ones_are_404(server):
    """Only the pages, their assets and the health endpoint exist."""
    assert server.get("/healthz")[::2] == (200, b"ok\n")
    for path in ("/", "/model/ranker", "/model/a%2Fb", "/assets/ninesight.css", "/_dash-dependencies"):
        assert server.get(path)[0] == 200, path
    for path in (
        "/nothing",
        "/model",
        "/model/",
        "/modelx/a",
        "/docs",
        "/openapi.json",
        "/_reload-hash",
        "/assets/../app.py",
    ):
        assert server.get(path)[0] == 404, path


def test_a_page_opens_with_its_data(server):
    """The layout request is answered with the leaves of the page it came from."""
    status, _, body = server.get("/_dash-layout", Referer=f"{server.url}/model/ranker?from=now-5m&to=now")
    layout = body.decode()
    assert status == 200
    assert '"ranker"' in layout
    assert '"model-latency"' in layout
    assert '"traffic"' not in layout
    assert "last 5 m" in layout
    status, _, body = server.get("/_dash-layout")
    assert '"traffic"' in body.decode()


def test_nothing_may_be_loaded_from_elsewhere(server):
    """The policy forbids foreign hosts, and no page names one."""
    _, headers, body = server.get("/")
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert b"https://" not in body
    assert headers["x-content-type-options"] == "nosniff"


def test_large_bodies_are_refused(server):
    """A callback body over the cap is not read."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        server.url + "/_dash-update-component", data=b"x" * 1_100_000, method="POST"
    )
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert getattr(caught.value, "code", 413) == 413
    if isinstance(caught.value, urllib.error.HTTPError):
        caught.value.close()


def test_a_layout_request_tells_its_page():
    """The address comes from the referrer, theme and zone from the cookie; damage falls back."""
    ask = ask_of(
        [
            (b"Referer", b"http://127.0.0.1:9900/model/a%20b?from=now-1h&to=now"),
            (b"cookie", b"other=1; ninesight_view=dark%7CEurope%2FBerlin"),
        ]
    )
    assert (ask.path, ask.search, ask.theme, ask.zone) == (
        "/model/a%20b",
        "from=now-1h&to=now",
        "dark",
        "Europe/Berlin",
    )
    damaged = ask_of([(b"referer", b"\xff\xfe"), (b"cookie", b"ninesight_view=;;;=\x01")])
    assert (damaged.theme, damaged.zone) == ("light", "")


def test_first_run_names_the_real_addresses():
    """What a newcomer copies works as it stands: five lines, and the configured endpoint."""
    settings = PagesSettings(otlp_url="http://127.0.0.1:7701")
    snippet = decorator_snippet(settings)
    assert len(snippet.splitlines()) == 5
    assert 'otlp_endpoint="http://127.0.0.1:7701"' in snippet
    compile(snippet, "snippet", "exec")
    assert "targets:" in scrape_snippet()


def test_the_configuration_says_what_must_hold():
    """Unknown keys and wrong values are refused in the user's words."""
    settings = PagesConfig(default_range="6h", time_zone="Europe/Berlin").settings(
        otlp_url="http://a:1", api_url="http://a:1"
    )
    assert (settings.default_from, settings.time_zone) == ("now-6h", "Europe/Berlin")
    for wrong, words in (
        ({"default_range": "soon"}, "default_range must be a duration"),
        ({"time_zone": "Mars"}, "time_zone must be"),
        ({"refresh_s": 0.1}, "refresh_s"),
        ({"colour": "red"}, "colour"),
    ):
        with pytest.raises(ValidationError, match=words):
            PagesConfig(**wrong)
    with pytest.raises(PagesConfigError, match="otlp_url must start with http"):
        PagesConfig().settings(otlp_url="localhost", api_url="http://a")


def test_the_defaults_of_the_readme_are_the_code_s():
    """Every key of the configuration is documented with its default."""
    from pathlib import Path

    readme = (Path(__file__).parents[2] / "dashboards" / "README.md").read_text()
    for key, field in PagesConfig.model_fields.items():
        assert f"`{key}`" in readme
        assert f"`{json.dumps(field.default)}`" in readme or f"`{field.default}`" in readme
