"""A word-sized line as an SVG image: no axes, the last value dotted. Made on the server, a few hundred bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

__all__ = ["EMPTY", "sparkline", "thinned"]

EMPTY = "data:image/svg+xml," + quote("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 120 28'/>")
_WIDTH, _HEIGHT = 120, 28


def thinned(values: Sequence[float | None], points: int = 40) -> list[float | None]:
    """Return at most `points` values, each the largest of its share, so that a spike is never lost."""
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    if len(array) > points:
        edges = np.linspace(0, len(array), points + 1).astype(int)
        array = np.fmax.reduceat(array, edges[:-1])
    return [None if math.isnan(value) else float(f"{value:.3g}") for value in array.tolist()]


def sparkline(values: Sequence[float | None], colour: str = "#4C8FCB", *, top: float | None = None) -> str:
    """Return the image address of a line from 0 to `top` (or its maximum); gaps stay gaps."""
    points = thinned(values, 60)
    known = [value for value in points if value is not None]
    if not known:
        return EMPTY
    highest = top or max(known) or 1.0
    place = _WIDTH / max(1, len(points) - 1)
    path, pen = [], "M"
    for column, value in enumerate(points):
        if value is None:
            pen = "M"
            continue
        y = _HEIGHT - 3 - max(0.0, min(1.0, value / highest)) * (_HEIGHT - 6)
        path.append(f"{pen}{column * place:.1f} {y:.1f}")
        pen = "L"
    last = len(points) - 1 - next(back for back, value in enumerate(reversed(points)) if value is not None)
    y = _HEIGHT - 3 - max(0.0, min(1.0, (points[last] or 0.0) / highest)) * (_HEIGHT - 6)
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH + 4} {_HEIGHT}' preserveAspectRatio='none'>"
        f"<path d='{''.join(path)}' fill='none' stroke='{colour}' stroke-width='1.5' vector-effect='non-scaling-stroke'/>"
        f"<circle cx='{last * place:.1f}' cy='{y:.1f}' r='2' fill='{colour}'/></svg>"
    )
    return "data:image/svg+xml," + quote(svg, safe=" ='/:.,")
