"""Decide what a chart shows: which series, in which order and colour, and what to say where there are none.

Pure: readings in, `Drawing` out. Components decide nothing after this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ninesight_dashboards.palette import ColourBook, Palette, Stroke
from ninesight_dashboards.panel import Panel, Query, Rest
from ninesight_dashboards.ranges import Reading
from ninesight_dashboards.series import Rows

__all__ = ["Drawing", "Line", "State", "draw", "shorten"]

_STAGES = ("preprocess", "queue", "batch", "prefill", "decode", "inference", "postprocess")
_OUTCOMES = ("ok", "cancelled", "shed", "timeout", "error")
_DIGITS = 4


class State(StrEnum):
    """What a panel or tile has to show. Each looks different."""

    OK = "ok"
    NO_DATA = "no data"
    """Nothing was reported in this range."""
    NO_TRAFFIC = "no traffic"
    """The model is there, and nobody asked."""
    STALE = "stale"
    """The last reading failed; an earlier one is shown, with its age."""
    ERROR = "error"
    """The reading failed, and there is no earlier one."""


@dataclass(frozen=True)
class Line:
    """One series to draw; None marks a gap."""

    name: str
    key: str
    """Stays the same over refreshes: the chart keeps the reader's choice of visible lines by it."""
    values: tuple[float | None, ...]
    stroke: Stroke


@dataclass(frozen=True)
class Drawing:
    """A chart ready to be drawn."""

    lines: tuple[Line, ...]
    state: State
    note: str = ""
    """Shown beside the title: what is missing, rolled up or stale."""


def shorten(name: str, length_max: int = 28) -> str:
    """Cut in the middle: both ends of a name tell it apart."""
    if len(name) <= length_max:
        return name
    head = (length_max - 1) * 2 // 3
    return f"{name[:head]}…{name[-(length_max - 1 - head) :]}"


def draw(
    panel: Panel,
    readings: Sequence[Reading],
    *,
    colours: Palette,
    book: ColourBook,
    traffic: float | None = None,
    age_text: str = "",
) -> Drawing:
    """Turn the answers of a panel's queries into lines.

    `traffic` is the request rate in the same scope (None if unknown): it tells an idle model from one
    that does not report. `age_text` is the age of the oldest answer, for the stale mark.
    """
    errors = [reading.error for reading in readings if reading.error]
    candidates = [
        _candidate(query, labels, rows.values[place], colours, book)
        for query, reading in zip(panel.queries, readings, strict=True)
        if (rows := reading.rows) is not None
        for place, labels in enumerate(_distinct(query, rows))
    ]
    drawn, note = _choose(panel, candidates, colours)
    if errors:
        note = f"stale {age_text}: {errors[0]}" if drawn else errors[0]
        return Drawing(tuple(drawn), State.STALE if drawn else State.ERROR, note[:200])
    if not drawn:
        idle = panel.needs_traffic and traffic == 0
        return Drawing((), State.NO_TRAFFIC if idle else State.NO_DATA, "" if idle else f"{panel.metrics[0]}")
    return Drawing(tuple(drawn), State.OK, note)


@dataclass(frozen=True)
class _Candidate:
    name: str
    key: str
    order: int
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    stroke: Stroke


def _distinct(query: Query, rows: Rows) -> Sequence[Mapping[str, str]]:
    """Each row's naming labels; a label that all rows share is left out of the name."""
    names = rows.names()
    varying = [label for label in query.by if len({row.get(label, "") for row in names}) > 1]
    shown = [label for label in query.by if label in varying or label == query.by[0]] if query.by else []
    found = [{label: row.get(label, "") for label in query.by if label in shown} for row in names]
    if len(shown) > 1 and "instance" in shown:
        return _without_ports(found)
    return found


def _without_ports(names: list[dict[str, str]]) -> list[dict[str, str]]:
    """Drop the port of each instance where the host alone tells them apart."""
    hosts = {row["instance"]: row["instance"].rpartition(":")[0] or row["instance"] for row in names}
    if len(set(hosts.values())) == len(hosts):
        return [row | {"instance": hosts[row["instance"]]} for row in names]
    return names


def _candidate(
    query: Query,
    labels: Mapping[str, str],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    colours: Palette,
    book: ColourBook,
) -> _Candidate:
    parts = [f"gpu {value}" if label == "gpu" else value for label, value in labels.items()]
    name = query.name or " ".join(part for part in parts if part) or "(none)"
    kind, _, place = query.style.partition(":")
    order = 0
    if kind == "quantile":
        stroke, order = colours.quantile(int(place)), int(place)
    elif kind == "mean":
        stroke, order = Stroke(colours.mean, "dash", 1.75), 9
    elif kind in ("stage", "outcome"):
        known = _STAGES if kind == "stage" else _OUTCOMES
        stroke = colours.named(kind, name) or Stroke(colours.others)
        order = known.index(name) if name in known else len(known)
    else:
        stroke = book.stroke("/".join(query.by), name, colours)
    return _Candidate(name, _key(query.style, name), order, values, stroke)


def _key(style: str, name: str) -> str:
    """The chart library builds style-sheet selectors from keys, so they are plain letters and digits."""
    return "k" + hashlib.blake2b(f"{style}/{name}".encode(), digest_size=6).hexdigest()


def _choose(panel: Panel, candidates: list[_Candidate], colours: Palette) -> tuple[list[Line], str]:
    """Keep the largest `panel.top`, roll up the rest as the panel says, and order for the legend."""
    if len(candidates) <= panel.top:
        return [_line(c) for c in sorted(candidates, key=lambda c: (c.order, c.name))], ""
    ranked = sorted(candidates, key=lambda c: (-_weight(c.values), c.name))
    kept, left = ranked[: panel.top], ranked[panel.top :]
    lines = [_line(c) for c in sorted(kept, key=lambda c: (c.order, c.name))]
    if panel.rest is not Rest.NONE:
        stack = np.vstack([c.values for c in left])
        covered = ~np.isnan(stack).all(axis=0)
        rolled = np.full(stack.shape[1], np.nan)
        reduce = np.nansum if panel.rest is Rest.SUM else np.nanmean
        rolled[covered] = reduce(stack[:, covered], axis=0)
        word = "others" if panel.rest is Rest.SUM else "mean of others"
        lines.append(Line(f"{word} ({len(left)})", "others", _plain(rolled), Stroke(colours.others, "dot")))
    return lines, f"{panel.top} of {len(candidates)}"


def _weight(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))


def _line(candidate: _Candidate) -> Line:
    return Line(shorten(candidate.name), candidate.key, _plain(candidate.values), candidate.stroke)


def _plain(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    """Four significant digits are finer than a pixel, and a third of the bytes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (_DIGITS - 1 - np.where(np.isfinite(exponent), exponent, 0))
    rounded = np.round(values * scale) / scale
    return tuple(None if value != value else value for value in rounded.tolist())  # noqa: PLR0124 (NaN is not itself)
