"""How a tile or table says that it is old, empty, wrong or simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ninesight_dashboards.charts import Charts, is_simulated, note_leaves
from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.desk import Frame
from ninesight_dashboards.lines import State
from ninesight_dashboards.memo import Known
from ninesight_dashboards.numbers import age
from ninesight_dashboards.tiles import Tile, leaves

__all__ = ["badge", "table", "tile"]


def badge(page: str, *, shown: bool) -> Leaves:
    """Return the page's "simulated" mark."""
    return {f"{page}-simulated.className": "ns-badge is-shown" if shown else "ns-badge"}


def tile(
    tile_id: str, made: Tile, charts: Charts, known: Known[Any] | None = None, metrics: Sequence[str] = ()
) -> Leaves:
    """Return a tile's leaves, marked stale or wrong where its figure could not be renewed."""
    simulated = made.simulated or is_simulated(charts.simulated, metrics, charts.model)
    made = replace(made, simulated=simulated)
    if known is not None and known.error:
        if known.value is None:
            made = Tile("error", known.error[:80], state=State.ERROR)
        else:
            made = replace(made, sub=f"stale {_ago(known, charts.frame)}", state=State.STALE)
    return leaves(tile_id, made)


def table(
    table_id: str,
    rows: list[dict[str, Any]],
    known: Known[Any],
    frame: Frame,
    absent: str,
    *,
    calm: bool = False,
) -> Leaves:
    """Return a table's leaves; `absent` says in words why it is empty, `calm` that empty is good news."""
    state, note, empty = State.OK, str(len(rows)), ""
    if not rows:
        state, note, empty = State.OK if calm else State.NO_DATA, "", absent
    if known.error and known.value is None:
        state, note, empty = State.ERROR, known.error[:160], "error"
    elif known.error:
        state, note = State.STALE, f"stale {_ago(known, frame)}: {known.error[:120]}"
    simulated = any(row.get("simulated") for row in rows)
    changed = note_leaves(table_id, state, note, simulated=simulated)
    return changed | {f"{table_id}-empty.children": empty, f"{table_id}.rowData": rows}


def _ago(known: Known[Any], frame: Frame) -> str:
    return age((frame.now_ms - known.at_ms) / 1000)
