"""What a call is recorded as, and that the function behaves as if nobody watched."""

import asyncio
import concurrent.futures
import functools
import inspect

import ninesight
import pytest
from ninesight.testing import histogram, number, total


def requests(snapshot, model, outcome, served_by="model", version="1"):
    return number(
        snapshot, "model_requests_total", model=model, version=version, outcome=outcome, served_by=served_by
    )


def durations(snapshot, model, version="1"):
    return histogram(snapshot, "model_request_duration_seconds", model=model, version=version)


class Odd(Exception):
    pass


ERRORS = [
    (ValueError("bad"), "error"),
    (Odd("odd"), "error"),
    (TimeoutError("late"), "timeout"),
    (asyncio.CancelledError(), "cancelled"),
    (concurrent.futures.CancelledError(), "cancelled"),
    (GeneratorExit(), "cancelled"),
    (KeyboardInterrupt(), "error"),
    (ExceptionGroup("tasks", [TimeoutError("a"), ExceptionGroup("inner", [TimeoutError("b")])]), "timeout"),
    (ExceptionGroup("tasks", [TimeoutError("a"), ValueError("b")]), "error"),
]


@pytest.mark.parametrize(("error", "outcome"), ERRORS, ids=repr)
@pytest.mark.parametrize("way", ["plain", "judged", "async", "call"])
def test_an_exception_passes_through_unchanged_and_tells_the_outcome(sdk, error, outcome, way):
    """The very object is raised, from each kind of wrapper."""

    def fail():
        raise error

    async def fail_async():
        raise error

    model = f"fails-{way}-{error!r}"
    if way == "plain":
        run = ninesight.observe(model=model)(fail)
    elif way == "judged":
        run = ninesight.observe(model=model, predictions=len)(fail)
    elif way == "async":
        run = lambda: ninesight.observe(model=model)(fail_async)().send(None)  # noqa: E731

    else:

        def run():
            with ninesight.call(model):
                fail()

    with pytest.raises(type(error)) as caught:
        run()
    assert caught.value is error
    snapshot = sdk()
    assert requests(snapshot, model, outcome) == 1
    assert total(snapshot, "model_requests_total", model=model) == 1
    assert durations(snapshot, model).count == 1
    assert number(snapshot, "model_predictions_total", model=model, version="1") == 0
    assert number(snapshot, "model_requests_in_flight", model=model, version="1") == 0


def test_results_arguments_and_names_pass_through(sdk):
    """A decorated function is called, named and inspected like the bare one."""

    @ninesight.observe(model="passes")
    def add(left, /, right=2, *more, scale=1, **rest):
        """Add."""
        return (left, right, more, scale, rest)

    assert add(1) == (1, 2, (), 1, {})
    assert add(1, 3, 4, scale=5, extra=6) == (1, 3, (4,), 5, {"extra": 6})
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    assert list(inspect.signature(add).parameters) == ["left", "right", "more", "scale", "rest"]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()
    assert (requests(sdk(), "passes", "ok"), requests(sdk(), "passes", "error")) == (2, 1)


def test_a_coroutine_function_stays_one(sdk):
    """Frameworks tell coroutine functions by inspection."""

    @ninesight.observe(model="coroutine", version=2)
    async def answer():
        await asyncio.sleep(0)
        return 42

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer()) == 42
    assert requests(sdk(), "coroutine", "ok", version="2") == 1


def test_the_model_defaults_to_the_name_of_the_function(sdk):
    """Bare and with empty brackets."""

    @ninesight.observe
    def bare_name():
        return 1

    @ninesight.observe()
    def empty_brackets():
        return 1

    bare_name()
    empty_brackets()
    assert requests(sdk(), "bare_name", "ok") == requests(sdk(), "empty_brackets", "ok") == 1


def test_methods_static_methods_and_callables_are_observed(sdk):
    """Anything that is called like a function."""

    class Model:
        @ninesight.observe(model="method")
        def predict(self, value):
            return (self, value)

        @staticmethod
        @ninesight.observe(model="method")
        def static(value):
            return value

        def __call__(self, value):
            return value

    model = Model()
    assert model.predict(3) == (model, 3)
    assert Model.static(4) == 4
    assert ninesight.observe(model="method")(model)(5) == 5
    assert ninesight.observe(model="method")(functools.partial(max, 6))(1) == 6
    assert requests(sdk(), "method", "ok") == 4


@pytest.mark.parametrize("predictions", [7, len])
def test_predictions_are_a_number_or_come_from_the_result(sdk, predictions):
    """They count for ok calls only."""

    @ninesight.observe(model="predicts", predictions=predictions)
    def run(fail):
        if fail:
            raise ValueError
        return "1234567"

    run(False)
    run(False)
    with pytest.raises(ValueError):
        run(True)
    assert number(sdk(), "model_predictions_total", model="predicts", version="1") == 14


def test_the_outcome_may_come_from_the_result_or_the_exception(sdk):
    """None leaves it to the usual rule."""

    def outcome(result, error):
        if isinstance(error, Odd):
            return "shed"
        return "timeout" if result == "late" else None

    @ninesight.observe(model="told", outcome=outcome)
    def run(what):
        if what == "odd":
            raise Odd
        return what

    run("fine")
    run("late")
    with pytest.raises(Odd):
        run("odd")
    assert [requests(sdk(), "told", word) for word in ("ok", "timeout", "shed")] == [1, 1, 1]


def test_shed_requests_are_counted_but_not_timed(sdk):
    """They never ran: a service that turns requests away quickly is not a fast one."""
    with ninesight.call("sheds") as call:
        call.outcome("shed")
    assert requests(sdk(), "sheds", "shed") == 1
    assert durations(sdk(), "sheds").count == 0
    assert call.duration_s > 0


def test_a_call_says_who_served_it_how_it_ended_and_how_much_it_predicted(sdk):
    """What the call says wins over what an exception would say."""
    with ninesight.call(model="speaks", version="3") as call:
        call.served_by("fallback")
        call.predictions(8)

    def late():
        with ninesight.call(model="speaks", version="3") as call:
            call.outcome(ninesight.Outcome.TIMEOUT)
            call.predictions(8)
            raise ValueError

    with pytest.raises(ValueError):
        late()
    assert requests(sdk(), "speaks", "ok", "fallback", version="3") == 1
    assert requests(sdk(), "speaks", "timeout", version="3") == 1
    assert number(sdk(), "model_predictions_total", model="speaks", version="3") == 8


def test_duration_s_is_exactly_the_value_recorded(sdk):
    """The sum of what the calls say of themselves is the histogram's sum, to the last bit."""
    calls = []
    for _ in range(3):
        with ninesight.call("exact") as call:
            pass
        calls.append(call.duration_s)
    recorded = durations(sdk(), "exact")
    assert recorded.sum == sum(sorted(calls))
    assert (recorded.low, recorded.high) == (min(calls), max(calls))


def test_current_reaches_the_running_call_from_inside(sdk):
    """In a plain function, in a coroutine, and outside of any call without harm."""
    ninesight.current().outcome("shed")
    assert ninesight.current().duration_s is None
    kept = []

    @ninesight.observe(model="reached")
    def plain():
        kept.append(ninesight.current())
        kept[-1].served_by("cache")

    @ninesight.observe(model="reached")
    async def coroutine():
        await asyncio.sleep(0)
        kept.append(ninesight.current())
        kept[-1].outcome("shed")

    plain()
    asyncio.run(coroutine())
    assert requests(sdk(), "reached", "ok", "cache") == 1
    assert requests(sdk(), "reached", "shed") == 1
    assert durations(sdk(), "reached").sum == kept[0].duration_s


def test_nested_and_recursive_calls_are_each_recorded(sdk):
    """A function that calls itself, and one of another model inside."""

    @ninesight.observe(model="inner")
    def inner():
        ninesight.current().served_by("cache")

    @ninesight.observe(model="outer")
    def outer(depth):
        inner()
        if depth:
            outer(depth - 1)
        assert number(sdk(), "model_requests_in_flight", model="outer", version="1") == 3 - depth
        ninesight.current().served_by("fallback" if depth == 0 else "model")

    outer(2)
    assert requests(sdk(), "inner", "ok", "cache") == 3
    assert (requests(sdk(), "outer", "ok"), requests(sdk(), "outer", "ok", "fallback")) == (2, 1)


def test_every_outcome_starts_at_zero(sdk):
    """A counter that appears at 1 shows no increase."""
    ninesight.call("starts")
    values = [requests(sdk(), "starts", str(outcome)) for outcome in ninesight.Outcome]
    assert values == [0] * 5


def test_a_mapping_holds_inside_exception_groups_too(sdk):
    """What a task group raises of an exception that the user named; a group may be named itself."""

    @ninesight.observe(model="grouped", outcomes={Odd: "shed"})
    def run(group):
        raise group

    @ninesight.observe(model="grouped", outcomes={ExceptionGroup: "cancelled"})
    def named(group):
        raise group

    for function in (run, named):
        with pytest.raises(ExceptionGroup):
            function(ExceptionGroup("tasks", [Odd(), Odd()]))
    assert total(sdk(), "model_requests_total", model="grouped", outcome="shed") == 1
    assert total(sdk(), "model_requests_total", model="grouped", outcome="cancelled") == 1
