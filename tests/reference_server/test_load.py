"""The load generator: arrivals, the log, and its settings."""

import random

import pytest
from ninesight_server.load.record import LoadLog, RequestRecord, read_log, server_seconds
from ninesight_server.load.run import LoadSettings
from ninesight_server.load.shapes import arrivals, rate_at


def test_arrivals_replay_from_their_seed_and_keep_their_rate():
    """The same seed gives the same times; over a long run the rate is what was asked (within four sigma)."""
    first = list(arrivals("steady", 50.0, 200.0, random.Random(7)))
    assert first == list(arrivals("steady", 50.0, 200.0, random.Random(7)))
    assert first == sorted(first)
    assert abs(len(first) - 10_000) < 4 * 100


def test_a_burst_is_three_times_the_rate():
    """In the last five of every twenty seconds the burst shape sends three times as much."""
    assert rate_at("burst", 14.9, 10.0) == 10.0
    assert rate_at("burst", 15.1, 10.0) == 30.0
    times = list(arrivals("burst", 20.0, 400.0, random.Random(1)))
    inside = sum(1 for at in times if at % 20 >= 15)
    assert inside / 100.0 == pytest.approx(60.0, rel=0.08)
    assert (len(times) - inside) / 300.0 == pytest.approx(20.0, rel=0.08)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("app;dur=12.5", 0.0125),
        ('db;dur=3, app;desc="x";dur="8"', 0.008),
        ("app", None),
        ("app;dur=x", None),
        ("", None),
        (None, None),
    ],
)
def test_server_timing_is_read(header, seconds):
    """The `app` metric of Server-Timing in seconds; None where there is none."""
    assert server_seconds(header) == seconds


def test_the_log_round_trips_and_survives_a_torn_line(tmp_path):
    """Records come back as written; a last line cut by a kill is left out."""
    path = tmp_path / "load.jsonl"
    records = [RequestRecord(1.5, "m", 200, 0.01, 0.009, 1), RequestRecord(2.5, "m", 503, 0.001, None, 1)]
    with path.open("w") as file:
        log = LoadLog(file)
        for record in records:
            log.add(record)
        file.write('{"at_s": 3.5, "mod')
    assert read_log(path) == records
    assert log.statuses == {200: 1, 503: 1}


def test_client_percentiles_are_nearest_rank():
    """p50 of 1..100 ms is the 50th value, p99 the 99th."""
    log = LoadLog(client_s=[value / 1000 for value in range(1, 101)])
    assert log.percentile_s(0.5) == 0.050
    assert log.percentile_s(0.99) == 0.099
    assert LoadLog().percentile_s(0.5) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate_per_s": 0}, "--rate must be greater than 0"),
        ({"duration_s": -1}, "--seconds must be greater than 0"),
        ({"shape": "odd"}, "--shape must be one of steady, burst, fault"),
        ({"rows": 0}, "--rows must be at least 1"),
    ],
)
def test_bad_settings_name_the_option(changes, words):
    """A wrong option is refused before anything is sent."""
    with pytest.raises(ValueError) as caught:
        LoadSettings(url="http://127.0.0.1:1", **changes)
    assert words in str(caught.value)
