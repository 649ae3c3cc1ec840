"""Samples as text inside label values (count_values), as Go prints them."""

from __future__ import annotations

import numpy as np

from ninesight_query.annotations import go_float
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_bounds import custom_edges, negative_edges, positive_edges

__all__ = ["format_float", "format_histogram", "format_ratio"]


def format_float(value: float) -> str:
    """Return the shortest positional decimal that reads back (Go's FormatFloat with 'f', -1)."""
    if not np.isfinite(value):
        return go_float(value)
    return np.format_float_positional(value, trim="-")


def format_ratio(value: float) -> str:
    """Return the number as OpenMetrics writes label values: always with a dot or an exponent."""
    text = go_float(value)
    return text if not np.isfinite(value) or "." in text or "e" in text else text + ".0"


def format_histogram(histogram: Histogram) -> str:
    """Return `{count:6, sum:2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:3}`; empty buckets are left out."""
    parts = [f"count:{go_float(histogram.count)}", f"sum:{go_float(histogram.sum)}"]
    if len(histogram.negative):
        edges = negative_edges(histogram)
        for k, number in enumerate(histogram.negative[::-1]):
            if number:
                parts.append(f"[{go_float(edges[k])},{go_float(edges[k + 1])}):{go_float(number)}")
    if histogram.zero_count:
        width = go_float(histogram.zero_threshold)
        lower = width if width == "0" else "-" + width
        parts.append(f"[{lower},{width}]:{go_float(histogram.zero_count)}")
    if len(histogram.positive):
        edges = custom_edges(histogram) if histogram.custom else positive_edges(histogram)
        for k, number in enumerate(histogram.positive):
            if number:
                bracket = "[" if histogram.custom and np.isneginf(edges[k]) else "("
                parts.append(f"{bracket}{go_float(edges[k])},{go_float(edges[k + 1])}]:{go_float(number)}")
    return "{" + ", ".join(parts) + "}"
