"""Panels of a page turned into leaf values: figure patches, notes and classes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.desk import Desk, Frame
from ninesight_dashboards.figure import change, legend
from ninesight_dashboards.lines import Drawing, State, draw
from ninesight_dashboards.numbers import age, unit_text
from ninesight_dashboards.panel import Panel
from ninesight_dashboards.ranges import Reading
from ninesight_dashboards.series import Optionals, Rows

__all__ = ["Charts", "is_simulated", "note_leaves", "panel_class"]

_OBJECTIVE_REACH = 3.0
"""An objective further above the data than this is named instead of drawn: it would press the lines flat."""


def is_simulated(
    found: frozenset[tuple[str, str]] | None, metrics: Sequence[str], model: str | None = None
) -> bool:
    """Return whether any of the metrics has a simulated series (of that model, where one is given)."""
    return any(name in metrics and (model is None or of == model) for name, of in found or ())


def panel_class(state: State, *, simulated: bool) -> str:
    """Return the class names of a panel's frame."""
    names = ["ns-panel", f"is-{state.replace(' ', '-')}"]
    return " ".join([*names, "is-simulated"] if simulated else names)


def note_leaves(panel_id: str, state: State, note: str, *, simulated: bool) -> Leaves:
    """Return the frame's leaves for a panel or table."""
    empty = {State.NO_DATA: "no data", State.NO_TRAFFIC: "no traffic", State.ERROR: "error"}.get(state, "")
    return {
        f"{panel_id}-panel.className": panel_class(state, simulated=simulated),
        f"{panel_id}-note.children": note,
        f"{panel_id}-empty.children": empty,
    }


@dataclass
class Charts:
    """Reads and prepares the charts of one view."""

    desk: Desk
    frame: Frame
    simulated: frozenset[tuple[str, str]] | None
    model: str | None = None

    def __post_init__(self) -> None:
        self.readings: dict[str, list[Reading]] = {}

    def read(self, panels: Sequence[Panel], pool: Executor | None = None) -> None:
        """Read every panel's queries; with a pool, several at a time."""
        mapper = pool.map if pool is not None else map
        answers = mapper(lambda panel: self.desk.read(panel, self.frame.grid, self.model), panels)
        self.readings.update(zip((panel.id for panel in panels), answers, strict=True))

    def drawing(self, panel: Panel, traffic: float | None) -> Drawing:
        """Return a panel's lines with what to say about them."""
        readings = self.readings[panel.id]
        oldest = min((reading.at_ms for reading in readings if reading.error), default=0)
        return draw(
            panel,
            readings,
            colours=self.frame.colours,
            book=self.desk.book,
            traffic=traffic,
            age_text=age((self.frame.now_ms - oldest) / 1000) if oldest else "",
        )

    def leaves(
        self, panel: Panel, *, traffic: float | None, objectives: Sequence[tuple[str, float]] = ()
    ) -> Leaves:
        """Return the panel's leaf values."""
        drawing = self.drawing(panel, traffic)
        highest = max(
            (value for line in drawing.lines for value in line.values if value is not None), default=0
        )
        shown = [line for line in objectives if line[1] <= _OBJECTIVE_REACH * highest]
        above = next(
            (f"{name} {unit_text(y, panel.unit)} lies above" for name, y in objectives if not shown), ""
        )
        simulated = is_simulated(self.simulated, panel.metrics, self.model if _per_model(panel) else None)
        figure = change(
            panel,
            drawing,
            chosen=self.frame.chosen,
            grid=self.frame.grid,
            zone=self.frame.zone,
            colours=self.frame.colours,
            objectives=shown,
            hidden={key for of, key in self.frame.ask.hidden if of == panel.id},
        )
        note = drawing.note or (above if drawing.lines else "")
        return note_leaves(panel.id, drawing.state, note, simulated=simulated) | {
            f"{panel.id}.figure": figure,
            f"{panel.id}-legend.lines": legend(panel, drawing),
        }

    def rows(self, panel_id: str, query: int = 0) -> Rows | None:
        """Return what one query of a panel answered, None if it never did."""
        return self.readings[panel_id][query].rows

    def line(self, panel_id: str, query: int = 0) -> Optionals:
        """Return the first line of a query that yields one."""
        rows = self.rows(panel_id, query)
        return rows.line(0) if rows is not None and rows.labels else ()

    def by_label(self, panel_id: str, label: str) -> dict[str, Optionals]:
        """Return a panel's lines by the value of a label."""
        rows = self.rows(panel_id)
        if rows is None:
            return {}
        return {names.get(label, ""): rows.line(place) for place, names in enumerate(rows.names())}

    def total(self, panel_id: str) -> Optionals:
        """Return the sum of a panel's lines at each step."""
        rows = self.rows(panel_id)
        return () if rows is None else rows.total()

    def failures(self) -> tuple[int, int, str]:
        """Return (queries that failed, all queries, the first error)."""
        every = [reading for readings in self.readings.values() for reading in readings]
        failed = [reading for reading in every if reading.error]
        return len(failed), len(every), failed[0].error if failed else ""


def _per_model(panel: Panel) -> bool:
    return any("$scope" in query.expr for query in panel.queries)
