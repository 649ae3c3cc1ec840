"""When priced units were there."""

import pytest
from ninesight_analytics import presence
from ninesight_analytics.contract import Window
from ninesight_analytics.presence import grid_of, host_of
from ninesight_analytics.testing import gpu_samples
from ninesight_query.contract import labels_of

START = 1_700_000_000_000
HOUR = 3_600_000
WINDOW = Window(START, START + HOUR)


def every(seconds, start=START - 60_000, end=WINDOW.end_ms):
    return range(start, end + 1, seconds * 1000)


def test_a_gpu_there_all_the_time_is_there_for_exactly_the_window(world):
    """Whatever the scrape interval and its phase, and though the last sample is before the end."""
    for index, interval in enumerate((1, 7, 15, 30)):
        world.add(gpu_samples(every(interval, end=WINDOW.end_ms - 13_000), gpu=str(index)))
    units = presence.gpus(world.engine, WINDOW)
    assert [(unit.gpu, unit.spans) for unit in units] == [
        (str(index), ((START, WINDOW.end_ms),)) for index in range(4)
    ]
    assert units[0].gpu_model == "NVIDIA H100 80GB HBM3"
    assert units[0].host == "node-1"
    assert units[0].seconds == 3600.0
    assert len(world.engine.queries) == 1


def test_a_gpu_that_comes_and_goes_is_there_from_first_to_last_sample(world):
    """The end is the last sample's own time; the start is late by a step (2.5 s in an hour) at most."""
    begin, end = START + 600_500, START + 1_800_500
    world.add(gpu_samples(every(1, begin, end)))
    (unit,) = presence.gpus(world.engine, WINDOW)
    ((found_begin, found_end),) = unit.spans
    assert begin <= found_begin <= begin + 2_500
    assert found_end == end


def test_a_long_gap_is_not_counted_and_a_short_one_is(world):
    """The look-back of five minutes is what is bridged."""
    world.add(gpu_samples(every(10, end=START + 600_000)))
    world.add(gpu_samples(every(10, START + 600_000 + 200_000, START + 1_200_000)))
    world.add(gpu_samples(every(10, START + 2_400_000, WINDOW.end_ms)))
    (unit,) = presence.gpus(world.engine, WINDOW)
    assert [(begin - START) // 10_000 for begin, _ in unit.spans] == [0, 240]
    assert [(end - START) // 1000 for _, end in unit.spans] == [1200, 3600]


def test_series_of_one_gpu_are_one_unit(world):
    """A new driver renames gpu_info; the UUID stays. A GPU known only by its utilisation counts too."""
    world.add(gpu_samples(every(15, end=START + HOUR // 2), uuid="GPU-1", name="old name"))
    world.add(gpu_samples(every(15, START + HOUR // 2), uuid="GPU-1", name="new name"))
    bare = labels_of("gpu_utilization_ratio", {"gpu": "3", "instance": "node-2:9400", "simulated": "true"})
    world.add({bare: [(at, 0.2) for at in every(15)]})
    units = presence.gpus(world.engine, WINDOW)
    assert [(unit.host, unit.spans) for unit in units] == [
        ("node-1", ((START, WINDOW.end_ms),)),
        ("node-2", ((START, WINDOW.end_ms),)),
    ]
    assert [unit.simulated for unit in units] == [False, True]


def test_what_ended_before_the_window_is_not_in_it(world):
    """Though the look-back still sees it at the window's start."""
    world.add(gpu_samples(every(15, START - 600_000, START - 30_000)))
    assert presence.gpus(world.engine, WINDOW) == ()


def test_instances_are_machines_not_ports(world):
    """Agent and server on one host are one machine."""
    for metric, instance in (("host_memory_total_bytes", "m1:9400"), ("model_requests_total", "m1:8000")):
        world.add({labels_of(metric, {"instance": instance}): [(at, 1.0) for at in every(15)]})
    (unit,) = presence.instances(world.engine, WINDOW)
    assert (unit.host, unit.gpu, unit.spans) == ("m1", "", ((START, WINDOW.end_ms),))


@pytest.mark.parametrize(
    ("instance", "host"),
    [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("10.0.0.1:9", "10.0.0.1"), ("x:y", "x:y"), ("", "")],
)
def test_a_host_is_an_instance_without_its_port(instance, host):
    """Only digits after the last colon are a port."""
    assert host_of(instance) == host


@pytest.mark.parametrize("length_ms", [1, 999, 1000, 60_000, 3_600_000, 86_400_000, 30 * 86_400_000 + 7])
def test_a_grid_ends_at_the_end_and_covers_the_start(length_ms):
    """At most 1440 steps of at least a second."""
    grid = grid_of(Window(START, START + length_ms))
    assert grid.start_ms <= START < grid.start_ms + grid.step_ms
    assert 1 <= grid.steps <= 1440
    assert grid.step_ms >= 1000


@pytest.mark.parametrize("days", [7, 28, 30, 31, 92])
@pytest.mark.parametrize("steps_max", [60, 720, 1440])
def test_a_long_grid_steps_by_quarters_of_an_hour(days, steps_max):
    """So a calendar period, which ends on such a quarter in any time zone, is answered without its samples."""
    grid = grid_of(Window(START, START + days * 86_400_000), steps_max)
    assert grid.step_ms % 900_000 == 0
    assert 1 <= grid.steps <= steps_max
    assert grid.start_ms <= START < grid.start_ms + grid.step_ms
