"""Fixed paths without a walk through the routes, and forms that are remembered: nothing is answered otherwise."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ninesight_query import LocalEngine, ParseError
from ninesight_query.http import BearerGuard, Direct, EnginePool, routes
from ninesight_query.http.params import _pairs
from ninesight_query.testing import store_over
from starlette.applications import Starlette
from starlette.testclient import TestClient

LOAD = 'load 1m\n  up{job="a"} 1x10\n'
PATHS = [
    "/api/v1/query?query=up",
    "/api/v1/query?query=up{",
    "/api/v1/query_range?query=up&start=0&end=600&step=60",
    "/api/v1/labels",
    "/api/v1/label/job/values",
    "/api/v1/status/buildinfo",
    "/api/v1/query/",
    "/api/v1/nothing",
    "/-/ready",
    "//api/v1/query?query=up",
]


@pytest.fixture(scope="module")
def clients():
    """(straight, through the routes)"""
    pool = EnginePool(2, 8)
    api = routes(LocalEngine(store_over(LOAD)), pool=pool, now_ms=lambda: 600_000)
    plain = Starlette(routes=api)
    straight, walked = BearerGuard(Direct(plain, api), "t"), BearerGuard(plain, "t")
    with TestClient(straight) as one, TestClient(walked) as other:
        yield one, other
    pool.close()


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
def test_the_reply_is_that_of_the_routes(clients, path, method):
    """Status, headers and body, whatever the method; redirects and unknown paths included."""
    login = {"Authorization": "Bearer t"}
    replies = [one.request(method, path, headers=login, follow_redirects=False) for one in clients]
    assert replies[0].status_code == replies[1].status_code
    assert replies[0].content == replies[1].content
    assert replies[0].headers == replies[1].headers


def test_the_token_comes_first(clients):
    """What stands before is passed by every request."""
    assert [one.get(PATHS[0]).status_code for one in clients] == [401, 401]
    assert clients[0].get(PATHS[0], headers={"Authorization": "bearer t"}).status_code == 200
    assert clients[0].get(PATHS[0], headers={"Authorization": "Basic t"}).status_code == 401


def test_only_endpoints_are_reached_straight():
    """Paths with variable parts and foreign routes stay where they are; so does what is mounted below a prefix."""
    api = routes(LocalEngine(store_over(LOAD)), now_ms=lambda: 600_000)
    direct = Direct(Starlette(routes=api), api)
    paths = {path for _, path in direct._endpoints}
    assert {"/api/v1/query", "/api/v1/query_range", "/api/v1/series"} <= paths
    assert not any("{" in path or path.startswith("/-/") for path in paths)
    outer = Starlette()
    outer.mount("/below", direct)
    with TestClient(outer) as client:
        assert client.get("/below/api/v1/query?query=up").status_code == 200
        assert client.get("/api/v1/query?query=up").status_code == 404


FORM = st.text(st.sampled_from("ab&=+%41fF;ü\x00 "), max_size=24)


@given(FORM)
@example("a=1&&b&=c&d==e&f=%zz&g=%4")
@example("a=" + "%41" * 1000 + "&b=+%2b+")
@example("q=%ff")
def test_a_form_is_read_as_the_standard_library_does(text):
    """Blank values kept, `+` is a blank, odd escapes stay, and what is no UTF-8 is refused."""
    for _ in range(2):
        try:
            wanted = parse_qsl(text, keep_blank_values=True, max_num_fields=9, errors="strict")
        except ValueError:
            with pytest.raises(ParseError, match="URL-encoded UTF-8, at most 9 of them"):
                _pairs(text, 9)
        else:
            assert _pairs(text, 9) == wanted
