"""Chart figures as plain dicts. The frame is sent once; a refresh patches only what changed.

Colours of text, grid and background come from the style sheet, so that a theme switch redraws nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dash import Patch

from ninesight_dashboards.lines import Drawing, Line
from ninesight_dashboards.numbers import unit_text
from ninesight_dashboards.palette import Palette
from ninesight_dashboards.panel import Chart, Panel
from ninesight_dashboards.timerange import Grid, TimeRange
from ninesight_dashboards.zone import Zone

__all__ = ["CONFIG", "FigureChange", "change", "frame", "legend", "traces", "x_of"]

CONFIG: Any = {
    "displayModeBar": False,
    "responsive": True,
    "doubleClick": False,
    "showTips": False,
    "scrollZoom": False,
}

_LEAST = {"ratio": 0.01, "req/s": 1, "requests": 1, "items": 1}
"""An axis reaches at least this far, so that nothing at all does not fill a chart from 0 to 100 %."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def frame(panel: Panel) -> dict[str, Any]:
    """Return the empty figure of a panel: axes, legend and margins that never change."""
    y_axis: dict[str, Any] = {
        "rangemode": "tozero",
        "fixedrange": True,
        "nticks": 5,
        "zeroline": False,
        "ticks": "",
        "gridcolor": "rgba(128,128,128,.18)",
        "title": None,
    }
    y_axis |= _y_ticks(panel)
    return {
        "data": [],
        "layout": {
            "uirevision": "keep",
            "autosize": True,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": _FONT, "size": 11, "color": "#868e96"},
            "margin": {"l": 48, "r": 12, "t": 6, "b": 22, "pad": 2},
            "hovermode": "x unified",
            "hoverlabel": {"font": {"size": 11}, "namelength": -1},
            "hoverdistance": 30,
            "dragmode": "zoom",
            "showlegend": False,
            "xaxis": {
                "type": "date",
                "autorange": False,
                "range": [0, 1],
                "showgrid": False,
                "spikethickness": 1,
                "spikedash": "solid",
                "spikecolor": "#868e96",
                "zeroline": False,
                "nticks": 7,
                "hoverformat": "%Y-%m-%d %H:%M:%S",
                "ticks": "outside",
                "ticklen": 3,
                "tickcolor": "rgba(128,128,128,.5)",
                "linecolor": "rgba(128,128,128,.35)",
                "showline": True,
            },
            "yaxis": y_axis,
            "shapes": [],
            "annotations": [],
        },
    }


def _time_format(span_ms: int) -> str:
    """Seconds, minutes or days: what tells neighbouring ticks apart, on one line."""
    if span_ms <= 180_000:
        return "%H:%M:%S"
    return "%H:%M" if span_ms <= 86_400_000 else "%a %d %H:%M" if span_ms <= 7 * 86_400_000 else "%Y-%m-%d"


def _y_ticks(panel: Panel) -> dict[str, Any]:
    ticks: dict[str, Any] = {}
    if panel.unit == "ratio":
        ticks = {"tickformat": "~%"}
    elif panel.unit == "s":
        ticks = {"tickformat": "~s", "ticksuffix": "s"}
    else:
        # Half a request is 0.5, not 500m; ten thousand are 10k.
        ticks = {"exponentformat": "SI", "minexponent": 3}
    if panel.unit in _LEAST:
        ticks["autorangeoptions"] = {"include": _LEAST[panel.unit]}
    if panel.y_max is not None:
        ticks |= {"range": [0, panel.y_max * 1.02], "autorange": False}
    return ticks


def x_of(grid: Grid, zone: Zone) -> dict[str, Any]:
    """Return a trace's x in wall-clock time: start and step, or a list where the offset changes inside."""
    if len(zone.segments(grid.start_ms, grid.end_ms)) == 1:
        return {"x0": zone.wall(grid.start_ms), "dx": grid.step_ms}
    return {"x": [zone.wall(moment) for moment in range(grid.start_ms, grid.end_ms + 1, grid.step_ms)]}


def traces(
    panel: Panel,
    drawing: Drawing,
    grid: Grid,
    zone: Zone,
    colours: Palette,
    hidden: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return one trace per line; the reader switched off the ones whose key is in `hidden`."""
    lines: Sequence[Line] = drawing.lines
    if panel.chart is Chart.STACK:
        grid, lines = _measured(grid, lines)
    x = x_of(grid, zone)
    found = [_trace(panel, line, x, line.key in hidden) for line in lines]
    if panel.chart is not Chart.STACK and len(found) == 1 and panel.y_max is None:
        found[0] |= {"fill": "tozeroy", "fillcolor": _faded(drawing.lines[0].stroke.colour, 0.12)}
    return found or [
        {"x": [], "y": [], "type": "scatter", "line": {"color": colours.others}, "showlegend": False}
    ]


def _measured(grid: Grid, lines: Sequence[Line]) -> tuple[Grid, Sequence[Line]]:
    """Cut both ends where nothing was measured: a stack would draw them as zero."""
    known = [step for step in range(grid.points) if any(line.values[step] is not None for line in lines)]
    if not known:
        return grid, lines
    first, last = known[0], known[-1]
    cut = Grid(grid.start_ms + first * grid.step_ms, grid.start_ms + last * grid.step_ms, grid.step_ms)
    return cut, [replace(line, values=line.values[first : last + 1]) for line in lines]


def _trace(panel: Panel, line: Line, x: dict[str, Any], off: bool) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "uid": line.key,
        "name": _escape(line.name),
        "y": list(line.values),
        "line": {"color": line.stroke.colour, "width": line.stroke.width, "dash": line.stroke.dash},
        "connectgaps": False,
        "visible": "legendonly" if off else True,
        "hovertemplate": f"{_hover(panel)}<extra>{_escape(line.name)}</extra>",
    } | x
    if panel.chart is Chart.STACK:
        # No outline: the edge of an empty band would paint the band below it in its colour.
        trace |= {"stackgroup": "one", "fillcolor": _faded(line.stroke.colour, 0.6)}
        trace["line"] = {"color": line.stroke.colour, "width": 0}
    return trace


def _hover(panel: Panel) -> str:
    """The value in a hover label, with its unit: 174.2ms, 0.91%, 215, 0.5."""
    return {"ratio": "%{y:.3~%}", "s": "%{y:.4~s}s"}.get(panel.unit, "%{y:,.4~r}")


def _escape(text: str) -> str:
    """Label values are other people's text: the chart library reads a little HTML and templates."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def _faded(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def change(
    panel: Panel,
    drawing: Drawing,
    *,
    chosen: TimeRange,
    grid: Grid,
    zone: Zone,
    colours: Palette,
    objectives: Sequence[tuple[str, float]] = (),
    hidden: Collection[str] = (),
) -> FigureChange:
    """Return what differs from the frame: data, the span shown, and objective lines (name, y)."""
    return FigureChange(
        traces(panel, drawing, grid, zone, colours, hidden),
        {
            "range": [zone.wall(moment) for moment in _span(chosen, grid)],
            "tickformat": _time_format(chosen.span_ms),
        },
        {
            "shapes": [_rule(value, colours) for _, value in objectives],
            "annotations": [_rule_name(name, value, panel, colours) for name, value in objectives],
        },
    )


def _span(chosen: TimeRange, grid: Grid) -> tuple[int, int]:
    """A live axis moves by whole steps, so that between two steps nothing changes; a fixed one is exact."""
    if not chosen.live or grid.points < 2:
        return chosen.start_ms, chosen.end_ms
    return grid.start_ms, grid.end_ms


@dataclass(frozen=True)
class FigureChange:
    """A figure without its frame. `patch` sends it to a page that is open, `whole` to one that opens."""

    data: list[dict[str, Any]]
    x_axis: dict[str, Any]
    layout: dict[str, Any]

    def patch(self) -> Patch:
        """Return the change as a patch: zoom and everything not named here stay as they are."""
        patch = Patch()
        patch["data"] = self.data
        for key, value in self.x_axis.items():
            patch["layout"]["xaxis"][key] = value
        for key, value in self.layout.items():
            patch["layout"][key] = value
        return patch

    def whole(self, figure: dict[str, Any]) -> dict[str, Any]:
        """Return the frame with the change in it."""
        layout = figure["layout"] | self.layout
        layout["xaxis"] = layout["xaxis"] | self.x_axis
        return {"data": self.data, "layout": layout}


def legend(panel: Panel, drawing: Drawing) -> list[list[str]]:
    """Return the legend's entries: name, key, colour, dash, and the last value as text."""
    found = []
    for line in drawing.lines:
        last = next((value for value in reversed(line.values[-3:]) if value is not None), None)
        text = "" if last is None else unit_text(last, panel.unit)
        found.append([line.name, line.key, line.stroke.colour, line.stroke.dash, text])
    return found


def _rule(value: float, colours: Palette) -> dict[str, Any]:
    line = {"color": colours.objective, "width": 1.25, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}


def _rule_name(name: str, value: float, panel: Panel, colours: Palette) -> dict[str, Any]:
    return {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": value,
        "yanchor": "bottom",
        "text": f"{_escape(name)} {unit_text(value, panel.unit)}",
        "showarrow": False,
        "font": {"size": 10, "color": colours.objective},
    }
