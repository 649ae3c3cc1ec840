"""Series lines: `metric{l="v"} 1 2+3x4 _ stale {{count:1}}x2`, and `metric@st -1mx3` before them.

A run `axN` stands for N+1 points, `a+bxN` for N+1 points rising by b; `_xN` for exactly N gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ninesight_store.contract import STALE_NAN, Labels

from ninesight_query.durations import duration_ms
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_math import IncompatibleSchemasError, add, subtract
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.histogram_text import parse_histogram
from ninesight_query.promqltest.metric import parse_metric
from ninesight_query.promqltest.numbers import number

__all__ = ["Point", "SeriesLine", "is_start_line", "parse_series", "parse_start_line", "parse_values"]

Point = float | Histogram | None
"""One item of a series: a value, a histogram, or None where it is omitted (`_`)."""

_POINTS_MAX = 1_000_000
"""A typing error in a repeat count shall not fill the memory."""

_NUM = r"(?:0x[0-9]*[a-f][0-9a-f]*|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|nan)"
_FLOATS = re.compile(rf"([+-]?{_NUM})(?:([+-])([+-]?{_NUM}))?(?:x(\d+))?", re.IGNORECASE | re.ASCII)
_GAP = re.compile(r"_(?:x(\d+))?")
_STALE = re.compile(r"stale(?:x(\d+))?")
_HISTOGRAMS = re.compile(r"\{\{(.*?)\}\}(?:([+-])\{\{(.*?)\}\})?(?:x(\d+))?")
_OFFSET = r"(?:\d+(?:ms|[smhdwy])?)+"
_STARTS = re.compile(rf"([+-]?{_OFFSET})(?:([+-])({_OFFSET}))?(?:x(\d+))?", re.ASCII)


@dataclass(frozen=True)
class SeriesLine:
    """One series of a load or of an expectation."""

    labels: Labels
    points: tuple[Point, ...]
    named_hints: bool = False
    """Whether any histogram of the line names its counter reset hint."""


def parse_series(line: str) -> SeriesLine:
    """Read one series line. Raises NotationError."""
    labels, position = parse_metric(line)
    points, named = parse_values(line[position:])
    return SeriesLine(labels, tuple(points), named)


def parse_values(text: str) -> tuple[list[Point], bool]:
    """Read the items of a line; the flag says whether a histogram names its reset hint."""
    points: list[Point] = []
    named, position = False, 0
    while position < len(text):
        if text[position] in " \t":
            position += 1
            continue
        if match := _HISTOGRAMS.match(text, position):
            run, names = _histogram_run(match)
            points += run
            named |= names
        elif match := _GAP.match(text, position):
            points += [None] * _repeats(match.group(1) or "1")
        elif match := _STALE.match(text, position):
            points += [STALE_NAN] * (_repeats(match.group(1) or "0") + 1)
        elif match := _FLOATS.match(text, position):
            points += _float_run(match)
        else:
            raise NotationError(f"an item must be a value, _, stale or a histogram, got {text[position:]!r}")
        position = match.end()
        if position < len(text) and text[position] not in " \t":
            raise NotationError(f"items must be separated by spaces, got {text[match.start() :]!r}")
        if len(points) > _POINTS_MAX:
            raise NotationError(f"a series must have at most {_POINTS_MAX} points; lower the repeat count")
    return points, named


def _repeats(text: str) -> int:
    count = int(text)
    if count > _POINTS_MAX:
        raise NotationError(f"a repeat count must be at most {_POINTS_MAX}, got {text}")
    return count


def _float_run(match: re.Match[str]) -> list[Point]:
    first, sign, step, times = match.groups()
    if sign and times is None:
        raise NotationError(f"a rising run must say how often, as in 1+2x3, got {match.group()!r}")
    value = number(first)
    rise = (number(step) if step else 0.0) * (-1.0 if sign == "-" else 1.0)
    out: list[Point] = [value]
    for _ in range(_repeats(times or "0")):
        value = value + rise if step else value
        out.append(value)
    return out


def _histogram_run(match: re.Match[str]) -> tuple[list[Point], bool]:
    first, sign, step, times = match.groups()
    value, named = parse_histogram(first)
    out: list[Point] = [value]
    count = _repeats(times or "0")
    if sign is None:
        return out * (count + 1), named
    if times is None:
        raise NotationError(f"a run of histograms must say how often, as in x3, got {match.group()!r}")
    rise, _ = parse_histogram(step)
    if rise.schema < value.schema:
        raise NotationError(
            f"the added histogram must have at least schema {value.schema} of the first, got {rise.schema}"
        )
    for _ in range(count):
        try:
            value = (add if sign == "+" else subtract)(value, rise).histogram
        except IncompatibleSchemasError as error:
            raise NotationError(str(error)) from error
        out.append(value)
    return out, named


def is_start_line(line: str) -> bool:
    """Whether a line gives start timestamps: its first word ends in `@st`."""
    words = line.split(maxsplit=1)
    return len(words) == 2 and words[0].endswith("@st")


def parse_start_line(line: str) -> tuple[Labels, tuple[int | None, ...]]:
    """Read `metric@st -1m _ 0-1mx3`: offsets in milliseconds from each sample, None where unknown.

    A line without a metric gives (), the default of all series that follow.
    """
    front, rest = line.split(maxsplit=1)
    metric = front.removesuffix("@st")
    offsets: list[int | None] = []
    for item in rest.split():
        if match := _GAP.fullmatch(item):
            offsets += [None] * _repeats(match.group(1) or "1")
            continue
        match = _STARTS.fullmatch(item)
        if match is None:
            raise NotationError(f"a start offset must be a duration such as -1m or -30s-1mx2, got {item!r}")
        first, sign, step, times = match.groups()
        value = duration_ms(first, signed=True)
        rise = (duration_ms(step) if step else 0) * (-1 if sign == "-" else 1)
        offsets += [value + rise * k for k in range(_repeats(times or "0") + 1)]
    return (parse_metric(metric)[0] if metric else ()), tuple(offsets)
