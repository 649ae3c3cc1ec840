"""A model's life as its handle tells it, and outcomes the user names."""

import asyncio

import ninesight
import pytest
from ninesight.outcomes import outcome_of_status
from ninesight.testing import isolated, number, total


class QueueFull(Exception):
    pass


class WayTooFull(QueueFull):
    pass


class HttpError(Exception):
    def __init__(self, status_code):
        self.status_code = status_code


def test_a_model_is_loaded_ready_checked_and_unloaded(sdk):
    """Load duration, loaded versions, readiness, the last golden input."""
    handle, labels = ninesight.model("lives", "7"), {"model": "lives", "version": "7"}
    with handle.loading():
        pass
    handle.golden_check(True, at_s=1_000.5)
    handle.ready()
    snapshot = sdk()
    assert number(snapshot, "model_load_duration_seconds", **labels) >= 0
    assert number(snapshot, "model_loaded", **labels) == number(snapshot, "model_ready", **labels) == 1
    assert number(snapshot, "model_golden_check_success", **labels) == 1
    assert number(snapshot, "model_golden_check_timestamp_seconds", **labels) == 1_000.5
    handle.golden_check(False)
    handle.loaded(False)
    snapshot = sdk()
    assert number(snapshot, "model_loaded", **labels) == number(snapshot, "model_ready", **labels) == 0
    assert number(snapshot, "model_golden_check_success", **labels) == 0
    assert number(snapshot, "model_golden_check_timestamp_seconds", **labels) > 1.7e9


def test_a_load_that_fails_leaves_nothing_loaded(sdk):
    """The exception passes."""
    with pytest.raises(OSError), ninesight.model("missing").loading():
        raise OSError
    assert total(sdk(), "model_loaded", model="missing") == 0


def test_caches_and_circuits_are_told(sdk):
    """Hits and misses by cache; the breaker as a number, a wrong word at once."""
    handle = ninesight.model("guarded")
    for hit in (True, True, False):
        handle.cache_lookup("exact", hit=hit)
    handle.circuit("half_open")
    handle.kv_cache_usage(lambda: 0.25)
    labels = {"model": "guarded", "version": "1"}
    assert number(sdk(), "model_cache_lookups_total", cache="exact", result="hit", **labels) == 2
    assert number(sdk(), "model_cache_lookups_total", cache="exact", result="miss", **labels) == 1
    assert number(sdk(), "model_circuit_state", **labels) == 1
    assert number(sdk(), "model_kv_cache_usage_ratio", **labels) == 0.25
    with pytest.raises(ninesight.ConfigError, match="a circuit must be closed, half_open, open, got 'ajar'"):
        handle.circuit("ajar")


@pytest.mark.parametrize("way", ["plain", "async", "call"])
def test_exceptions_of_ones_own_have_outcomes(way):
    """Named for the process, or for one function, which wins; subclasses follow their nearest base."""

    def outcomes(error, **more):
        with isolated(outcomes={QueueFull: "shed", KeyError: "cancelled"}) as snapshot:

            def fail():
                raise error

            async def fail_async():
                raise error

            if way == "plain":
                run = ninesight.observe(model="named", **more)(fail)
            elif way == "async":
                run = lambda: asyncio.run(ninesight.observe(model="named", **more)(fail_async)())  # noqa: E731
            else:

                def run():
                    with ninesight.call("named"):
                        fail()

            with pytest.raises(type(error)):
                run()
            (found,) = [
                dict(point.labels)["outcome"]
                for family in snapshot().families
                if family.name == "model_requests_total"
                for point in family.numbers
                if point.value and ("model", "named") in point.labels
            ]
            return found

    assert outcomes(WayTooFull()) == "shed"
    assert outcomes(KeyError()) == "cancelled"
    assert outcomes(HttpError(429)) == "shed"
    assert outcomes(HttpError(504)) == "timeout"
    assert outcomes(HttpError(422)) == "error"
    if way != "call":
        assert outcomes(WayTooFull(), outcomes={WayTooFull: "timeout"}) == "timeout"


def test_http_statuses_stand_for_outcomes():
    """Busy is shed, late is timeout, a client that left is cancelled."""
    found = {status: outcome_of_status(status) for status in (200, 304, 400, 408, 429, 499, 500, 503, 504)}
    assert found == {
        200: "ok", 304: "ok", 400: "error", 408: "timeout", 429: "shed", 499: "cancelled", 500: "error",
        503: "shed", 504: "timeout",
    }  # fmt: skip
