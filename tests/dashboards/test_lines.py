"""What a chart shows is decided without a browser."""

import json

import numpy as np
from ninesight_dashboards.figure import change, frame, legend
from ninesight_dashboards.lines import State, draw, shorten
from ninesight_dashboards.palette import DARK, LIGHT, ColourBook
from ninesight_dashboards.panel import Chart, Panel, Query, Rest
from ninesight_dashboards.panels import OVERVIEW, panel
from ninesight_dashboards.ranges import Reading
from ninesight_dashboards.series import Rows
from ninesight_dashboards.timerange import Grid, read_range
from ninesight_dashboards.zone import zone_of
from ninesight_query.contract import labels_of

GRID = Grid(0, 20_000, 5_000)


def reading(values, label="model", error=""):
    """Rows by label value, as an engine would answer."""
    labels = tuple(labels_of("", {label: name}) for name in values)
    return Reading(
        Rows(GRID, labels, np.array(list(values.values()), float).reshape(len(labels), 5)), 1000, error
    )


def drawn(shown, *readings, **more):
    return draw(shown, readings, colours=LIGHT, book=ColourBook(), **more)


def rates(count):
    return {f"m{number:02d}": [float(number)] * 5 for number in range(count)}


def test_the_largest_six_are_drawn_and_the_rest_summed():
    """Traffic of models beyond the sixth is one line, and the note says how many there are."""
    drawing = drawn(panel("traffic"), reading(rates(10)))
    assert [line.name for line in drawing.lines] == ["m04", "m05", "m06", "m07", "m08", "m09", "others (4)"]
    assert drawing.lines[-1].values[0] == 0 + 1 + 2 + 3
    assert drawing.note == "6 of 10"


def test_percentiles_beyond_the_sixth_are_only_counted():
    """They can be neither added nor averaged."""
    drawing = drawn(panel("latency"), reading(rates(10)))
    assert len(drawing.lines) == 6
    assert drawing.note == "6 of 10"


def test_gpus_are_rolled_up_by_their_mean():
    """A share of the others is a mean, and says so."""
    shown = Panel("gpus", "t", "help", (Query("up", by=("model",)),), ("up",), "ratio", top=2, rest=Rest.MEAN)
    drawing = drawn(shown, reading({"a": [1.0] * 5, "b": [0.9] * 5, "c": [0.2] * 5, "d": [0.4] * 5}))
    assert drawing.lines[-1].name == "mean of others (2)"
    assert drawing.lines[-1].values[0] == 0.3


def test_gaps_stay_gaps():
    """What was not measured is null, never 0, and numbers keep four significant digits."""
    drawing = drawn(panel("latency"), reading({"a": [0.123456, np.nan, 0.0, 1e-7, 12345.678]}))
    assert drawing.lines[0].values == (0.1235, None, 0.0, 1e-7, 12350.0)


def test_empty_panels_say_why():
    """No data, no traffic and an error are three states."""
    nothing = Reading(Rows(GRID, (), np.zeros((0, 5))), 1000)
    assert drawn(panel("latency"), nothing, traffic=12.0).state is State.NO_DATA
    assert drawn(panel("latency"), nothing, traffic=0.0).state is State.NO_TRAFFIC
    assert drawn(panel("traffic"), nothing, traffic=0.0).state is State.NO_DATA
    failed = drawn(panel("latency"), Reading(None, 0, "the store is locked"))
    assert (failed.state, failed.note) == (State.ERROR, "the store is locked")


def test_a_stale_panel_keeps_its_lines():
    """The old lines stay, with their age and the reason."""
    drawing = drawn(panel("traffic"), reading(rates(2), error="down"), age_text="40 s")
    assert drawing.state is State.STALE
    assert len(drawing.lines) == 2
    assert drawing.note == "stale 40 s: down"


def test_quantiles_come_in_order_and_in_one_hue():
    """p50 to p99 are light to dark, the mean is another hue and dashed."""
    one = Reading(Rows(GRID, ((),), np.ones((1, 5))), 1000)
    drawing = drawn(panel("model-latency"), one, one, one, one, one)
    assert [line.name for line in drawing.lines] == ["p50", "p90", "p95", "p99", "mean"]
    assert [line.stroke.colour for line in drawing.lines] == [*LIGHT.quantiles, LIGHT.mean]
    assert drawing.lines[-1].stroke.dash == "dash"


def test_outcomes_have_fixed_colours_and_order():
    """ok is at the bottom and error on top, whatever the alphabet says."""
    drawing = drawn(panel("model-outcomes"), reading({"error": [1.0] * 5, "ok": [9.0] * 5}, "outcome"))
    assert [line.name for line in drawing.lines] == ["ok", "error"]
    assert drawing.lines[1].stroke.colour == dict(LIGHT.outcomes)["error"]


def test_long_names_are_cut_in_the_middle():
    """Both ends of a name tell it apart."""
    assert shorten("translate-de-en-v2-distilled-int8-canary") == "translate-de-en-v2…t8-canary"
    assert len(shorten("x" * 300)) == 28


def gpu_names(*units):
    labels = tuple(labels_of("", {"instance": host, "gpu": gpu}) for host, gpu in units)
    rows = Rows(GRID, labels, np.ones((len(labels), 5)))
    return [line.name for line in drawn(panel("gpu-utilization"), Reading(rows, 0)).lines]


def test_gpus_are_named_by_what_tells_them_apart():
    """One host: the GPU's number; several: number and host, without the port where the host is enough."""
    assert gpu_names(("a:1", "0")) == ["gpu 0"]
    assert gpu_names(("a:1", "0"), ("a:1", "1")) == ["gpu 0", "gpu 1"]
    assert gpu_names(("a:1", "0"), ("b:1", "0")) == ["gpu 0 a", "gpu 0 b"]
    assert gpu_names(("a:1", "0"), ("a:2", "0")) == ["gpu 0 a:1", "gpu 0 a:2"]


def changed(shown, drawing, **more):
    chosen = read_range("?from=1000000&to=1900000", now_ms=2_000_000)
    return change(shown, drawing, chosen=chosen, grid=GRID, zone=zone_of("UTC"), colours=DARK, **more)


def test_a_refresh_patches_leaves_only():
    """A patch names the data, the span and the objective lines: zoom, legend and size are left alone."""
    patch = changed(panel("traffic"), drawn(panel("traffic"), reading(rates(2)))).patch().to_plotly_json()
    touched = {tuple(step["location"]) for step in patch["operations"]}
    assert touched == {
        ("data",),
        ("layout", "xaxis", "range"),
        ("layout", "xaxis", "tickformat"),
        ("layout", "shapes"),
        ("layout", "annotations"),
    }
    assert all(step["operation"] == "Assign" for step in patch["operations"])


def test_traces_are_plain_and_small():
    """Traces are dicts of plain values with start and step instead of a list of times."""
    shown = panel("traffic")
    figure = changed(shown, drawn(shown, reading(rates(2)))).whole(frame(shown))
    again = json.loads(json.dumps(figure))
    assert again["data"][0]["x0"] == "1970-01-01 00:00:00.000"
    assert again["data"][0]["dx"] == 5000
    assert "x" not in again["data"][0]
    assert again["layout"]["xaxis"]["range"] == ["1970-01-01 00:16:40.000", "1970-01-01 00:31:40.000"]
    assert again["layout"]["uirevision"] == "keep"


def test_hidden_lines_stay_hidden():
    """What the reader switched off is sent switched off."""
    drawing = drawn(panel("traffic"), reading(rates(2)))
    off = drawing.lines[0].key
    data = changed(panel("traffic"), drawing, hidden={off}).data
    assert [trace["visible"] for trace in data] == ["legendonly", True]
    assert [entry[1] for entry in legend(panel("traffic"), drawing)] == [line.key for line in drawing.lines]


def test_keys_are_plain_words():
    """The chart library builds selectors from keys: any name must give letters and digits."""
    names = {"a/b c": [1.0] * 5, 'x"y': [1.0] * 5, "": [1.0] * 5}
    keys = [line.key for line in drawn(panel("traffic"), reading(names)).lines]
    assert all(key.isalnum() for key in keys)
    assert len(set(keys)) == 3


def test_names_cannot_carry_markup():
    """A model's name is other people's text: no tags and no templates reach the chart."""
    drawing = drawn(panel("traffic"), reading({"<a href='x'>%{y}</a>": [1.0] * 5}))
    trace = changed(panel("traffic"), drawing).data[0]
    assert "<a" not in trace["name"]
    assert "%{y}</a" not in trace["hovertemplate"]


def test_objectives_are_lines_with_their_name():
    """An objective is a dashed line at its threshold."""
    shown = panel("model-latency")
    one = Reading(Rows(GRID, ((),), np.ones((1, 5))), 1000)
    figure = changed(shown, drawn(shown, one, one, one, one, one), objectives=[("99 % under", 0.25)])
    assert figure.layout["shapes"][0]["y0"] == 0.25
    assert figure.layout["annotations"][0]["text"] == "99 % under 250 ms"


def test_scales_start_at_zero_and_stacks_are_filled():
    """Proportional ink: every axis starts at 0, and only parts of a whole are stacked."""
    for shown in OVERVIEW:
        assert frame(shown)["layout"]["yaxis"]["rangemode"] == "tozero"
        assert frame(shown)["layout"]["yaxis"]["fixedrange"] is True
    stages = panel("model-stages")
    assert stages.chart is Chart.STACK
    drawing = drawn(stages, reading({"queue": [1.0] * 5, "inference": [2.0] * 5}, "stage"))
    assert all(trace["stackgroup"] for trace in changed(stages, drawing).data)


def test_a_stack_does_not_draw_what_was_not_measured():
    """Before the first and after the last measurement a stack ends; inside it has one grid for all bands."""
    shown = panel("model-outcomes")
    gap = np.nan
    bands = {"ok": [gap, 2.0, 3.0, 4.0, gap], "error": [gap, gap, 1.0, gap, gap]}
    data = changed(shown, drawn(shown, reading(bands, "outcome"))).data
    assert [trace["y"] for trace in data] == [[2.0, 3.0, 4.0], [None, 1.0, None]]
    assert {trace["x0"] for trace in data} == {"1970-01-01 00:00:05.000"}
    assert {trace["line"]["width"] for trace in data} == {0}
