"""What the API must never give away, and how much may be asked of it."""

import os
import subprocess
import sys
import typing

import httpx2
import pytest
from ninesight_suite.config import SuiteConfig
from ninesight_suite.facts import flags_of
from ninesight_suite.published import masked_url, published
from ninesight_suite.testing import gauge_request, now_ms, push, running_suite
from pydantic import BaseModel, SecretStr

SECRET = "Geheim-0815-geheim"
TOKEN = "correct-horse-battery"


def secret_fields(model, path=()):
    """The paths of all secret fields of a configuration, nested ones included."""
    for name, field in model.model_fields.items():
        parts = [field.annotation, *typing.get_args(field.annotation)]
        parts += [inner for part in parts for inner in typing.get_args(part)]
        for part in parts:
            if part is SecretStr:
                yield (*path, name)
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from secret_fields(part, (*path, name))


def filled(model):
    """An unchecked instance of a model with every secret field set, and one item in each list of models."""
    values = {}
    for name, field in model.model_fields.items():
        parts = [field.annotation, *typing.get_args(field.annotation)]
        parts += [inner for part in parts for inner in typing.get_args(part)]
        models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        if SecretStr in parts:
            one = SecretStr(SECRET)
            values[name] = {"X-Key": one} if typing.get_origin(field.annotation) is dict else one
        elif models:
            inner = filled(models[0])
            values[name] = inner if field.annotation is models[0] else (inner,)
    return model.model_construct(**values)


def test_no_secret_field_is_published():
    """Every field that is a secret is masked, wherever it is nested, and so are logins in addresses."""
    fields = set(secret_fields(SuiteConfig))
    assert len(fields) >= 6
    config = filled(SuiteConfig)
    config = config.model_copy(
        update={
            "store": config.store.model_copy(
                update={"url": f"postgresql://me:{SECRET}@db/n?password={SECRET}"}
            )
        }
    )
    text = published(config)
    assert SECRET not in text
    assert text.count("<secret>") >= len(fields)
    assert "postgresql://<secret>@db/n?<secret>" in text
    assert SECRET not in str(flags_of(config))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://prometheus:9090/x", "http://prometheus:9090/x"),
        ("http://a:b@h/p", "http://<secret>@h/p"),
        ("http://a@b:c@h/p", "http://<secret>@h/p"),
        ("sqlite:////var/lib/n.db", "sqlite:////var/lib/n.db"),
        ("https://h/p?token=x", "https://h/p?<secret>"),
        ("https://h/p#x", "https://h/p?<secret>"),
        ("plain text", "plain text"),
    ],
)
def test_addresses_lose_logins_and_parameters(url, shown):
    """What may hold a secret is masked, the rest stays readable."""
    assert masked_url(url) == shown


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite behind a token, with another token for OTLP and one site that may read."""
    config = {
        "api": {"token": TOKEN, "origins": ["https://grafana.example"]},
        "collector": {"otlp": {"token": SECRET}},
        "alerts": {"receivers": [{"name": "r", "url": f"https://hooks.example/{SECRET}"}]},
    }
    with running_suite(tmp_path_factory.mktemp("guarded"), config) as running:
        yield running


def get(suite, path, **headers):
    return httpx2.get(
        suite.api_url + path, headers={"Authorization": f"Bearer {TOKEN}", **headers}, timeout=30
    )


PATHS = (
    "/",
    "/api/v1/query?query=1",
    "/api/v1/status/config",
    "/api/v1/targets",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/nothing",
)


@pytest.mark.parametrize("path", PATHS)
def test_everything_asks_for_the_token(suite, path):
    """Without it 401, with it the answer; health checks are open."""
    assert httpx2.get(suite.api_url + path).status_code == 401
    assert get(suite, path).status_code == (404 if path == "/nothing" else 200)
    assert httpx2.get(f"{suite.api_url}/-/ready").status_code == 200


def test_the_query_command_shows_the_token(suite):
    """From the environment, so that no process list shows it; without it one line and exit code 2."""
    command = [sys.executable, "-m", "ninesight_suite.cli", "query", "--url", suite.api_url, "1 + 1"]
    bare = {key: value for key, value in os.environ.items() if key != "NINESIGHT_API_TOKEN"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    assert done.returncode == 2
    assert done.stderr.startswith("ninesight: unauthorized")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=bare | {"NINESIGHT_API_TOKEN": TOKEN}
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2")


def test_receivers_keep_their_own_token(suite):
    """OTLP has a token, so the API's is not asked; remote write has none, so it is."""
    body = gauge_request("x", 1.0, now_ms())
    headers = {"Content-Type": "application/x-protobuf"}
    url = f"{suite.api_url}/v1/metrics"
    assert push(suite.client, suite.api_url, body).status_code == 401
    own = {**headers, "Authorization": f"Bearer {SECRET}"}
    assert httpx2.post(url, content=body, headers=own).status_code == 200
    other = {**headers, "Authorization": f"Bearer {TOKEN}"}
    assert httpx2.post(url, content=body, headers=other).status_code == 401
    assert httpx2.post(f"{suite.api_url}/api/v1/write", content=b"").status_code == 401


def test_no_secret_is_told_over_http(suite):
    """Neither token nor webhook path stands in any status page."""
    for name in ("config", "flags", "runtimeinfo", "tsdb", "buildinfo"):
        text = get(suite, f"/api/v1/status/{name}").text
        assert SECRET not in text
        assert TOKEN not in text
    assert "hooks.example" not in get(suite, "/api/v1/status/config").text


def test_other_sites_are_named_one_by_one(suite):
    """The configured origin may read, with a preflight before it; another may not."""
    reply = get(suite, "/api/v1/query?query=1", Origin="https://grafana.example")
    assert reply.headers["access-control-allow-origin"] == "https://grafana.example"
    reply = get(suite, "/api/v1/query?query=1", Origin="https://evil.example")
    assert "access-control-allow-origin" not in reply.headers
    asked = {"Origin": "https://grafana.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization"
    assert httpx2.options(f"{suite.api_url}/api/v1/query", headers=asked).status_code == 200


MARKUP = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (f"/{MARKUP}", {}),
        ("/api/v1/query", {"query": MARKUP}),
        ("/api/v1/query", {"query": "1", "time": MARKUP}),
        ("/api/v1/query_range", {"query": "1", "start": "0", "end": "1", "step": MARKUP}),
        ("/api/v1/series", {"match[]": MARKUP}),
        (f"/api/v1/label/{MARKUP}/values", {"start": MARKUP}),
        ("/api/v1/rules", {"type": MARKUP}),
        ("/api/v1/targets/metadata", {"match_target": MARKUP}),
        ("/api/v1/parse_query", {"query": MARKUP}),
    ],
)
def test_nothing_comes_back_as_a_page(suite, path, params):
    """What was asked may stand in a message, but as JSON that no browser takes for a page."""
    reply = httpx2.get(suite.api_url + path, params=params, headers={"Authorization": f"Bearer {TOKEN}"})
    assert reply.status_code in (400, 404)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("query=" + "1%2B" * 400_000 + "1", 413),
        ("query=1&" + "a=1&" * 2_000, 400),
        ("&".join("match[]=up" for _ in range(201)), 400),
        ("query=" + "1%2B" * 10_000 + "1", 422),
        ("query=" + "(" * 5_000 + "1" + ")" * 5_000, 400),
        ("query=%00", 400),
    ],
)
def test_too_much_is_refused(suite, form, status):
    """Bodies, fields, selectors and queries have caps; the suite goes on."""
    path = "/api/v1/series" if form.startswith("match") else "/api/v1/query"
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {TOKEN}"}
    reply = httpx2.post(suite.api_url + path, content=form, headers=kind, timeout=30)
    assert reply.status_code == status, reply.text[:300]
    assert reply.json()["status"] == "error"
    assert len(reply.content) < 20_000
    assert get(suite, "/api/v1/query?query=1").status_code == 200
