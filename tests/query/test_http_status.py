"""`/api/v1/status`: counts that are right and bounded, a token before everything, other sites by name."""

import pytest
from ninesight_query.api_config import ApiConfig
from ninesight_query.errors import UnavailableError
from ninesight_query.http import BearerGuard, CardinalityCounter, Head
from ninesight_query.http.cardinality import cardinality_of
from ninesight_query.http.times import rfc3339
from ninesight_store.contract import labels_of
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

SERIES = (
    labels_of("hits", {"job": "a", "path": "/x"}),
    labels_of("hits", {"job": "a", "path": "/é"}),
    labels_of("up", {"job": "b"}),
)


def head(labels=SERIES):
    return Head(labels, 7, 1000, 2000)


def test_what_is_counted():
    """Series a metric, values a label, bytes of distinct values, series a pair; the largest first, then by name."""
    document = cardinality_of(head()).document(2)
    assert document == {
        "headStats": {"numSeries": 3, "numLabelPairs": 6, "chunkCount": 7, "minTime": 1000, "maxTime": 2000},
        "seriesCountByMetricName": [{"name": "hits", "value": 2}, {"name": "up", "value": 1}],
        "labelValueCountByLabelName": [{"name": "__name__", "value": 2}, {"name": "job", "value": 2}],
        "memoryInBytesByLabelName": [{"name": "__name__", "value": 6}, {"name": "path", "value": 5}],
        "seriesCountByLabelValuePair": [
            {"name": "__name__=hits", "value": 2},
            {"name": "job=a", "value": 2},
        ],
    }


def test_counting_is_bounded_and_kept():
    """Only so many series are looked at, and only so often."""
    now, asked = [0.0], []

    def look():
        asked.append(now[0])
        return head()

    counter = CardinalityCounter(look, series_max=1, keep_s=30, clock_s=lambda: now[0])
    assert counter.get().by_metric == {"hits": 1}
    assert counter.get().document(1)["headStats"]["numSeries"] == 3
    now[0] = 30.5
    counter.get()
    assert asked == [0.0, 30.5]


def test_times_are_gos():
    """UTC with milliseconds; never is Go's zero time."""
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


@pytest.fixture
def guarded():
    """A client of an application behind a token, and its guard."""
    routes = [Route(path, lambda _: PlainTextResponse("in"), methods=["GET", "POST"]) for path in ("/api/v1/query", "/own", "/-/ready")]  # fmt: skip
    guard = BearerGuard(Starlette(routes=routes), "correct-horse", {"/-/ready", "/own"})
    with TestClient(guard) as client:
        yield client, guard


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer correct-hors",
        "Bearer correct-horse2",
        "Basic correct-horse",
        "correct-horse",
        "Bearer CORRECT-HORSE",
        "Bearer \xe9",
    ],
)
def test_without_the_token_nothing_is_told(guarded, shown):
    """401 with the way in; the path behind is not reached and not confirmed."""
    client, guard = guarded
    headers = {} if shown is None else {"authorization": shown.encode("latin-1")}
    for path in ("/api/v1/query", "/nowhere", "/-/ready/", "//-/ready"):
        reply = client.post(path, headers=headers)
        assert reply.status_code == 401
        assert reply.json()["errorType"] == "unauthorized"
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert "horse" not in reply.text
    assert guard.refused_total == 4


def test_with_the_token_everything_is_there(guarded):
    """The scheme's case does not matter; open paths need none."""
    client, guard = guarded
    for scheme in ("Bearer", "bearer"):
        reply = client.get("/api/v1/query", headers={"authorization": f"{scheme} correct-horse"})
        assert reply.text == "in"
    assert client.get("/-/ready").text == client.get("/own").text == "in"
    assert guard.refused_total == 0


def test_the_token_comes_from_the_file_or_the_key(tmp_path):
    """One of both, long enough, without blanks; a file's path starts at the configuration's folder."""
    assert ApiConfig().secret() == ""
    assert ApiConfig(token="correct-horse").secret() == "correct-horse"
    (tmp_path / "token").write_text(" correct-horse\n")
    assert ApiConfig(token_file="token").rooted(tmp_path).secret() == "correct-horse"
    (tmp_path / "token").write_text("short")
    with pytest.raises(UnavailableError, match="at least 8 ASCII characters"):
        ApiConfig(token_file="token").rooted(tmp_path).secret()
    with pytest.raises(UnavailableError, match="must be readable text"):
        ApiConfig(token_file="gone").rooted(tmp_path).secret()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token": "short"}, "at least 8 ASCII characters"),
        ({"token": "with a blank"}, "without blanks"),
        ({"token": "correct-horse", "token_file": "x"}, "not both"),
        ({"origins": ["*"]}, "scheme, host and port alone"),
        ({"origins": ["https://a.example/path"]}, "scheme, host and port alone"),
        ({"origins": ["https://*.example"]}, "scheme, host and port alone"),
        ({"origins": ["null"]}, "scheme, host and port alone"),
    ],
)
def test_what_may_not_be_configured(given, words):
    """The finding says what must hold, and never the token."""
    with pytest.raises(ValidationError, match=words) as found:
        ApiConfig(**given)
    assert "correct-horse" not in str(found.value)
    assert "with a blank" not in str(found.value)
