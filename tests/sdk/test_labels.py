"""Labels of the user's own, and names taken from the call: right where they fit, bounded where they do not."""

import asyncio

import ninesight
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.api import RUNTIME
from ninesight.contract import OTHER
from ninesight.faults import Faults
from ninesight.labels import LabelBudget
from ninesight.testing import isolated, number, total


def ok(snapshot, model, **labels):
    return total(snapshot, "model_requests_total", model=model, outcome="ok", **labels)


def test_fixed_labels_are_on_every_series_of_the_call(sdk):
    """Requests, durations, predictions and stages alike; the path is the plain one."""

    @ninesight.observe(model="labelled", labels={"region": "eu"})
    def run():
        with ninesight.stage("inference"):
            return 1

    run()
    names = {
        family.name
        for family in sdk().families
        for point in (*family.numbers, *family.histograms)
        if {("model", "labelled"), ("region", "eu")} <= set(point.labels)
    }
    assert {
        "model_requests_total",
        "model_predictions_total",
        "model_request_duration_seconds",
        "model_stage_duration_seconds",
        "model_requests_in_flight",
    } <= names


def test_model_version_and_labels_are_taken_from_the_call(sdk):
    """Functions get the call's own arguments, in each kind of function."""
    settings = {
        "model": lambda request: request["model"],
        "version": lambda request: request.get("version"),
        "labels": {"tenant": lambda request: request["tenant"], "region": "eu"},
    }

    @ninesight.observe(**settings)
    def plain(request):
        return request

    @ninesight.observe(**settings)
    async def coroutine(request):
        return request

    @ninesight.observe(**settings)
    def generator(request):
        yield request

    @ninesight.observe(labels=lambda request: {"tenant": request["tenant"]})
    def by_function(request):
        return request

    one = {"model": "a", "version": 2, "tenant": "t1"}
    assert plain(one) is one
    asyncio.run(coroutine(request=one))
    list(generator({"model": "b", "tenant": "t2"}))
    by_function(one)
    snapshot = sdk()
    assert ok(snapshot, "a", version="2", tenant="t1", region="eu") == 2
    assert ok(snapshot, "b", version="1", tenant="t2", region="eu") == 1
    assert ok(snapshot, "by_function", tenant="t1") == 1


def test_a_function_of_the_arguments_that_raises_costs_only_the_name(sdk):
    """The call runs, is counted under the function's name, and the error is told."""

    @ninesight.observe(model=lambda request: request["model"], labels={"tenant": lambda request: 1 / 0})
    def named_after(request):
        return request

    assert named_after({}) == {}
    assert ok(sdk(), "named_after", tenant="") == 1
    assert ninesight.stats().internal_errors == 2


def test_values_beyond_the_budget_become_other_and_are_counted():
    """The first ones stay, whatever else comes."""
    with isolated(label_values_max=3) as snapshot:

        @ninesight.observe(model="many", labels={"tenant": lambda tenant: tenant})
        def run(tenant):
            return tenant

        for step in range(10):
            run(f"t{step}")
        run("t1")
        assert ok(snapshot(), "many", tenant="t1") == 2
        assert ok(snapshot(), "many", tenant=OTHER) == 7
        assert ninesight.stats().over_budget == 7


def test_sets_of_labels_have_a_budget_too():
    """Many names of few values each are many sets: beyond the budget all own labels become `__other__`."""
    with isolated(label_sets_max=4) as snapshot:
        for step in range(16):
            with ninesight.call("sets", labels={"a": step % 4, "b": step // 4}):
                pass
        assert ok(snapshot(), "sets") == 16
        assert ok(snapshot(), "sets", a=OTHER, b=OTHER) == 12


def test_a_running_call_may_say_its_labels(sdk):
    """A tenant is often known only after the request was read; in flight moves with the call."""
    with ninesight.call("says") as call:
        ninesight.current().labels(tenant="t1")
        ninesight.current().labels(region="eu")
        assert number(sdk(), "model_requests_in_flight", model="says", version="1") == 0
        assert total(sdk(), "model_requests_in_flight", model="says", tenant="t1", region="eu") == 1
        call.labels(tenant="t2")

    @ninesight.observe(model="says")
    def plain():
        ninesight.current().labels(tenant="t3")

    plain()
    snapshot = sdk()
    assert ok(snapshot, "says", tenant="t2", region="eu") == 1
    assert ok(snapshot, "says", tenant="t3") == 1
    assert total(snapshot, "model_requests_in_flight", model="says") == 0


@pytest.mark.parametrize("name", ["outcome", "le", "model", "bad-name", "__x", 7])
def test_a_label_that_no_series_can_carry_is_refused(sdk, name):
    """At set-up it is raised; in a request it is left out and counted."""
    with pytest.raises(ninesight.ConfigError, match="rename or leave out"):
        ninesight.observe(labels={name: "x"})(len)
    with ninesight.call("refuses", labels={name: "x", "fine": "y"}):
        pass
    assert ok(sdk(), "refuses", fine="y") == 1
    assert ninesight.stats().invalid == 1


def test_values_that_cannot_be_hashed_are_text(sdk):
    """And None, bytes and numbers are."""
    for value in ([1, 2], None, b"x", 3):
        with ninesight.call("odd", labels={"tenant": value}):
            pass
    assert ok(sdk(), "odd") == 4
    assert ok(sdk(), "odd", tenant="[1, 2]") == ok(sdk(), "odd", tenant="None") == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=200), st.integers(1, 10))
def test_the_budget_holds_for_any_order_of_values(said, values_max):
    """Never more than `values_max` values of a name beside `__other__`; what was let in stays in."""
    faults = Faults()
    budget = LabelBudget(faults, values_max)
    seen, over = {}, 0
    for name, value in said:
        got = budget.value(name, value)
        known = seen.setdefault(name, set())
        if got == OTHER:
            over += 1
            assert len(known) == values_max
            assert str(value) not in known
        else:
            assert got == str(value)
            known.add(got)
            assert len(known) <= values_max
    assert faults.over_budget == over


def test_a_running_call_may_say_which_model_answers(sdk):
    """A router knows it only inside; own labels go along."""
    with ninesight.call("router", labels={"tenant": "t1"}) as call:
        ninesight.current().model("small", "2")
        assert total(sdk(), "model_requests_in_flight", model="router") == 0
    assert call.series.model == "small"
    assert ok(sdk(), "small", version="2", tenant="t1") == 1
    assert ok(sdk(), "router") == 0


class Odd:
    """What a request should not hold."""

    def __str__(self):
        raise ValueError

    def __hash__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "said", [["x"], {"a": 1}, Odd(), None, b"x", 10**5000], ids=lambda said: type(said).__name__
)
def test_what_a_request_says_instead_of_a_name_is_a_text(sdk, said):
    """A list from somebody's JSON, for instance: as model, as version, as a label, from the start or later."""

    @ninesight.observe(
        model=lambda model, *_: model, version=lambda *told: told[1], labels={"tenant": lambda *told: told[2]}
    )
    def run(model, version, tenant):
        return 1

    for told in ((said, "1", "a"), ("odd", said, "a"), ("odd", "1", said)):
        assert [run(*told) for _ in range(2)] == [1, 1]
        with ninesight.call(told[0], told[1], labels={"tenant": told[2]}) as call:
            call.labels(region=said)
            call.model(said)
    assert ninesight.stats().internal_errors == 0
    assert total(sdk(), "model_requests_total", outcome="ok") == 9


def test_megabytes_where_a_name_should_be_are_not_kept(sdk):
    """Cut to 256 characters they are one name; what was said is not remembered, however often it differs."""
    many = 50

    @ninesight.observe(model=lambda told: told, labels={"tenant": lambda told: (told, told)})
    def run(told):
        return 1

    before = len(RUNTIME.registry._shortcuts)
    for each in range(many):
        run("m" * 300 + str(each))
        with ninesight.call("long", version="v" * 300 + str(each)):
            pass
    assert len(RUNTIME.registry._shortcuts) - before <= 2
    assert ok(sdk(), "m" * 256) == ok(sdk(), "long") == many
