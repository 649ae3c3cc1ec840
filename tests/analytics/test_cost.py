"""The bill and who caused it, through the real engine."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_analytics import cost, pricebook
from ninesight_analytics.contract import Basis, Billing, Window
from ninesight_analytics.testing import ModelTraffic, gpu_samples
from ninesight_query.contract import labels_of

START = 1_700_000_000_000
HOUR = 3_600_000
WINDOW = Window(START, START + HOUR)
TIMES = (START + 1, *range(START + 15_000, START + HOUR + 1, 15_000))
GPU_TIMES = range(START, START + HOUR + 1, 15_000)
BOOK = pricebook.load("""
entries:
  - {id: h100, gpu_model: ".*H100.*", purchase: on_demand, price_per_hour: "6.88"}
  - {id: l4, gpu_model: ".*L4", purchase: spot, price_per_hour: "0.80"}
""")


def served(model, seconds, *, predictions=100.0, gpu="0", **keys):
    made = ModelTraffic(model, **keys)
    made.observe(START + 600_000, [0.01] * 10, predictions=predictions, accelerator_s=seconds, gpu=gpu)
    return made


def adds_up(report):
    total = math.fsum([*(line.amount for line in report.lines), report.idle])
    assert math.isclose(total, report.bill, rel_tol=1e-9, abs_tol=1e-15)
    assert math.isclose(report.attributed + report.idle, report.bill, rel_tol=1e-9, abs_tol=1e-15)
    assert math.isclose(sum(h * p for _, h, p in report.units), report.bill, rel_tol=1e-9, abs_tol=1e-15)
    assert report.idle >= 0
    return True


def test_the_bill_is_price_times_time_and_is_split_by_seconds(world):
    """A quarter of an hour of work is a quarter of the price of the hour."""
    world.add(gpu_samples(GPU_TIMES))
    world.serve(served("ranker", 900.0, predictions=5000), served("tagger", 180.0), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.bill == pytest.approx(6.88, rel=1e-12)
    assert report.units == (("h100", 1.0, 6.88),)
    assert [(line.model, line.version) for line in report.lines] == [("ranker", "1"), ("tagger", "1")]
    ranker = report.lines[0]
    assert ranker.accelerator_seconds == pytest.approx(900.0, rel=1e-6)
    assert ranker.amount == pytest.approx(6.88 / 4, rel=1e-6)
    assert ranker.predictions == pytest.approx(5000, rel=1e-6)
    assert ranker.per_prediction.value == pytest.approx(6.88 / 4 / 5000, rel=1e-6)
    assert ranker.per_thousand.value == pytest.approx(6.88 / 4 / 5, rel=1e-6)
    assert report.idle_ratio == pytest.approx(0.7, rel=1e-6)
    assert report.basis is Basis.SDK_BATCH
    assert report.currency == "USD"
    assert report.notes == ()
    assert not report.simulated
    assert adds_up(report)


def test_the_upper_bound_of_a_prediction_bears_idle_time(world):
    """All predictions at their upper bounds pay the whole bill; at their lower bounds, their own use."""
    world.add(gpu_samples(GPU_TIMES))
    world.serve(served("a", 720.0, predictions=10), served("b", 360.0, predictions=40), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    whole = sum(line.per_prediction.upper * line.predictions for line in report.lines)
    own = sum(line.per_prediction.lower * line.predictions for line in report.lines)
    assert whole == pytest.approx(report.bill)
    assert own == pytest.approx(report.attributed)
    assert all(
        line.per_thousand.lower <= line.per_thousand.value <= line.per_thousand.upper for line in report.lines
    )


@settings(max_examples=25, deadline=None)
@given(
    used=st.lists(st.floats(0.001, 8000), min_size=0, max_size=4),
    gpus=st.lists(st.sampled_from(["NVIDIA H100", "NVIDIA L4", "unknown"]), min_size=0, max_size=3),
    length_ms=st.integers(60_000, HOUR),
)
def test_attributed_plus_idle_is_price_times_time(new_world, used, gpus, length_ms):
    """To 1e-9, for any use (too much, none), GPUs (priced, not priced, none) and window."""
    world = new_world()
    times = range(START, START + length_ms + 1, 30_000)
    for index, name in enumerate(gpus):
        world.add(gpu_samples(times, gpu=str(index), name=name))
    for index, seconds in enumerate(used):
        made = ModelTraffic(f"m{index}")
        made.observe(START + 20_000, [0.1], accelerator_s=seconds, gpu=str(index % 2))
        world.serve(made, times=times)
    window = Window(START, START + length_ms)
    report = cost.report(world.engine, window, BOOK)
    prices = {"NVIDIA H100": 6.88, "NVIDIA L4": 0.80, "unknown": 0.0}
    assert math.isclose(
        report.bill, sum(prices[n] for n in gpus) * length_ms / HOUR, rel_tol=1e-9, abs_tol=1e-15
    )
    assert adds_up(report)


def test_each_gpu_is_paid_by_those_who_used_it(world):
    """Where seconds name their GPU, the model on the dear one pays the dear price."""
    world.add(gpu_samples(GPU_TIMES, gpu="0"), gpu_samples(GPU_TIMES, gpu="1", name="NVIDIA L4"))
    world.serve(served("big", 1800.0, gpu="0"), served("small", 1800.0, gpu="1"), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert {line.model: line.amount for line in report.lines} == pytest.approx(
        {"big": 3.44, "small": 0.40}, rel=1e-6
    )
    assert report.notes == ()
    assert adds_up(report)


def test_seconds_that_name_no_priced_gpu_cost_the_average_and_it_is_said(world):
    """The server does not know the agent's names: one pool."""
    world.add(gpu_samples(GPU_TIMES, gpu="0"), gpu_samples(GPU_TIMES, gpu="1", name="NVIDIA L4"))
    world.serve(served("big", 1800.0, gpu="0", instance="elsewhere:1"), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.lines[0].amount == pytest.approx(7.68 / 4, rel=1e-6)
    assert "every second costs the average of all prices" in report.notes[0]
    assert adds_up(report)


def test_more_seconds_than_time_are_scaled_down_with_a_note(world):
    """Clocks differ; nobody pays more than the bill."""
    world.add(gpu_samples(GPU_TIMES))
    world.serve(served("a", 3600.0), served("b", 3600.0), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert [line.amount for line in report.lines] == pytest.approx([3.44, 3.44])
    assert report.idle == pytest.approx(0.0, abs=1e-12)
    assert "exceed the time available by 100.0 %; attributions were scaled down" in report.notes[0]
    assert adds_up(report)


def test_no_gpu_and_no_price_are_a_bill_of_nothing_with_a_note(world):
    """0 is not shown without its reason."""
    world.serve(served("ranker", 900.0), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert (report.bill, report.idle_ratio) == (0.0, None)
    assert report.lines[0].amount == 0.0
    assert report.notes == (
        "no GPU was seen in the window (neither gpu_info nor gpu_utilization_ratio), so the bill is 0",
    )
    world.add(gpu_samples(GPU_TIMES, name="Homemade 1"))
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.bill == 0.0
    assert report.notes[0] == "no price fits what was seen, so the bill is 0; add an entry to the document"
    assert report.notes[1] == "without a price: GPU 0 on node-1 (Homemade 1)"


def test_unmeasured_models_are_named(world):
    """Their use is inside idle; so is everything where nothing was measured."""
    world.add(gpu_samples(GPU_TIMES))
    silent = ModelTraffic("silent")
    silent.observe(START + 600_000, [0.1] * 5)
    world.serve(silent, times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.idle == report.bill
    assert report.basis is Basis.NONE
    assert report.notes == (
        "no accelerator-seconds were measured, so the whole bill is idle",
        "predictions without accelerator-seconds, their use is inside idle: silent",
    )


def test_a_price_that_changes_inside_the_window_is_taken_piece_by_piece(world):
    """20 minutes at the old price, 40 at the new one."""
    book = pricebook.load("""
entries:
  - {id: old, gpu_model: ".*", purchase: on_demand, price_per_hour: "12", valid_to: "2023-11-14T22:33:20+00:00"}
  - {id: new, gpu_model: ".*", purchase: on_demand, price_per_hour: "6", valid_from: "2023-11-14T22:33:20Z"}
""")
    assert book.entries[1].valid_from == START + 1_200_000
    world.add(gpu_samples(GPU_TIMES))
    report = cost.report(world.engine, WINDOW, book)
    assert report.bill == pytest.approx(4.0 + 4.0, rel=1e-12)
    assert {name: hours for name, hours, _ in report.units} == pytest.approx({"old": 1 / 3, "new": 2 / 3})


def test_a_machine_priced_as_a_whole_covers_its_gpus(world):
    """Eight accelerator-seconds a second, and no GPU is billed twice."""
    book = pricebook.load("""
entries:
  - {id: box, instance: "node-.*", purchase: reserved, price_per_hour: "16", per: instance, gpu_count: 8}
  - {id: h100, gpu_model: ".*H100.*", purchase: on_demand, price_per_hour: "6.88"}
""")
    world.add(*(gpu_samples(GPU_TIMES, gpu=str(index)) for index in range(8)))
    world.serve(served("ranker", 7200.0, gpu="3"), times=TIMES)
    report = cost.report(world.engine, WINDOW, book)
    assert report.units == (("box", 1.0, 16.0),)
    assert report.lines[0].amount == pytest.approx(4.0, rel=1e-6)
    assert adds_up(report)


def test_a_gpu_seen_for_a_part_is_billed_for_it_or_for_the_window(world):
    """The configuration says which."""
    world.add(gpu_samples(range(START + HOUR // 2, START + HOUR + 1, 15_000)))
    observed = cost.report(world.engine, WINDOW, BOOK)
    assert observed.bill == pytest.approx(3.44, abs=6.88 * 2.5 / 3600)
    assert cost.report(world.engine, WINDOW, BOOK, billing=Billing.WINDOW).bill == pytest.approx(6.88)


def test_simulated_units_are_priced_apart_and_marked(world):
    """The built-in book has a price for them, and says that it is invented."""
    labels = {"simulated": "true"}
    world.add(gpu_samples(GPU_TIMES, name="Simulated H100", labels=labels))
    world.serve(served("ranker", 1800.0, labels=labels), times=TIMES)
    report = cost.report(world.engine, WINDOW, pricebook.built_in())
    assert report.simulated
    assert report.bill == pytest.approx(3.60)
    (note,) = report.notes
    assert note.startswith("price simulated-gpu comes from the built-in price book: Invented, ")
    assert note.endswith("Not a market price.")


def test_a_foreign_busy_counter_and_process_utilisation_serve_where_the_sdk_is_not(world):
    """In that order of trust, and the report says which."""
    world.add(gpu_samples(GPU_TIMES))
    process = labels_of(
        "gpu_process_utilization_ratio", {"model": "proc", "pid": "7", "gpu": "0", "instance": "node-1:9400"}
    )
    world.add({process: [(at, 0.25) for at in range(START - 15_000, START + HOUR + 1, 15_000)]})
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.basis is Basis.PROCESS_UTILIZATION
    assert report.lines[0].accelerator_seconds == pytest.approx(900.0, rel=1e-9)
    triton = {"model": "proc", "version": "3", "instance": "node-1:8002"}
    world.add({
        labels_of("nv_inference_compute_infer_duration_us", triton): [(START + 1, 0.0), (START + HOUR, 1.8e9)],
        labels_of("nv_inference_count", triton): [(START + 1, 0.0), (START + HOUR, 1000.0)],
    })  # fmt: skip
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.basis is Basis.BUSY_COUNTER
    (line,) = report.lines
    assert (line.model, line.version) == ("proc", "3")
    assert line.amount == pytest.approx(3.44, rel=1e-6)
    assert line.per_thousand.value == pytest.approx(3.44, rel=1e-6)
    world.serve(served("ranker", 2000.0), times=TIMES)
    report = cost.report(world.engine, WINDOW, BOOK)
    assert report.basis is Basis.SDK_BATCH
    assert "different sources: batch execution time, server busy counter" in " ".join(report.notes)


def test_the_number_of_queries_does_not_grow_with_the_fleet(world):
    """Six, with instances seven."""
    world.add(*(gpu_samples(GPU_TIMES, gpu=str(index)) for index in range(6)))
    world.serve(*(served(f"m{index}", 10.0) for index in range(6)), times=TIMES)
    cost.report(world.engine, WINDOW, BOOK)
    assert len(world.engine.queries) == 6


def test_cost_over_time_adds_up_at_each_step_and_to_the_report(world):
    """Idle before and after; the work costs where it was done."""
    world.add(gpu_samples(GPU_TIMES))
    world.serve(served("ranker", 200.0), times=TIMES)
    found = cost.series(world.engine, WINDOW, BOOK, steps=12)
    assert found.timestamps.tolist() == list(range(START + 300_000, START + HOUR + 1, 300_000))
    lines = found.lines["ranker", "1"]
    assert (lines + found.idle) == pytest.approx(found.bill, rel=1e-9)
    assert found.bill.sum() == pytest.approx(6.88)
    assert lines.argmax() == 1
    assert lines.sum() == pytest.approx(6.88 * 200 / 3600, rel=0.06)
    with pytest.raises(ValueError, match="steps must be between 1 and 1440, got 0"):
        cost.series(world.engine, WINDOW, BOOK, steps=0)
