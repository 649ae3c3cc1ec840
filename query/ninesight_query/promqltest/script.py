"""A script of promises: `load`, `clear` and `eval` commands, read from text.

    load 5m                                   step of the points, the first at time 0
      requests_total{model="a"} 0+10x6        one line per series

    eval instant at 30m rate(requests_total[10m])
      {model="a"} 0.0333333                   one line per expected series

A blank or comment line ends a block. Times and steps are Prometheus durations from the epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.metric import unquote
from ninesight_query.promqltest.numbers import is_number, number
from ninesight_query.promqltest.series import (
    SeriesLine,
    is_start_line,
    parse_series,
    parse_start_line,
)

__all__ = ["Clear", "Command", "Eval", "Expect", "Grid", "Load", "LoadSeries", "parse_script"]

_LOAD = re.compile(r"load(?:_(with_nhcb))?\s+(.+?)", re.IGNORECASE)
_INSTANT = re.compile(
    r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)", re.IGNORECASE | re.DOTALL
)
_RANGE = re.compile(
    r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)", re.IGNORECASE
)
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?")
_EXPECT_MATRIX = re.compile(r"expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)")
_OLD_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.+)")


@dataclass(frozen=True)
class Grid:
    """Times start, start+step, ... <= end, in milliseconds."""

    start_ms: int
    end_ms: int
    step_ms: int


@dataclass(frozen=True)
class Expect:
    """One `expect` line: what must be said. Without a pattern any text will do."""

    kind: str
    """fail, warn, no_warn, info or no_info."""
    text: str | None = None
    regex: bool = False


@dataclass(frozen=True)
class LoadSeries:
    """One series to load; point k lies at k times the step."""

    line: SeriesLine
    starts: tuple[int | None, ...] = ()
    """Start timestamps as offsets in milliseconds from each sample; () where none are given."""


@dataclass(frozen=True)
class Load:
    """Add series to the store."""

    line: int
    step_ms: int
    series: tuple[LoadSeries, ...]
    with_nhcb: bool = False
    """Whether classic histogram families are loaded a second time as native ones with custom bounds."""
    origin_ms: int = 0
    """Time of point 0; a script always starts at 0."""


@dataclass(frozen=True)
class Clear:
    """Empty the store."""

    line: int


@dataclass(frozen=True)
class Eval:
    """Ask a query and compare the answer."""

    line: int
    query: str
    at_ms: int | None = None
    """Time of an instant query; None for a range query."""
    grid: Grid | None = None
    """Grid of a range query; None for an instant query."""
    series: tuple[SeriesLine, ...] = ()
    scalar: float | None = None
    string: str | None = None
    matrix: Grid | None = None
    """Where an instant query is to return a range of raw points."""
    ordered: bool = False
    fails: bool = False
    says: tuple[Expect, ...] = field(default=())


Command = Load | Clear | Eval


def parse_script(text: str) -> tuple[Command, ...]:
    """Read a whole script. Raises NotationError with the line."""
    lines = [_clean(line) for line in text.split("\n")]
    commands: list[Command] = []
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        end = at + 1
        while end < len(lines) and lines[end]:
            end += 1
        command, used = _parse_block(lines[at:end], at + 1)
        commands.append(command)
        at += used
    return tuple(commands)


def _clean(line: str) -> str:
    line = line.strip()
    return "" if line.startswith("#") else line


def _parse_block(lines: list[str], number_: int) -> tuple[Command, int]:
    """Read the command at the head of a block; returns it and how many lines it took."""
    word = lines[0].split(maxsplit=1)[0].lower()
    if word == "clear":
        return Clear(number_), 1
    if word.startswith("load"):
        return _parse_load(lines, number_), len(lines)
    if word.startswith("eval"):
        return _parse_eval(lines, number_)
    raise NotationError(f"a command must be load, clear or eval, got {lines[0]!r}", number_)


def _at(line: int, error: Exception) -> NotationError:
    return NotationError(error.bare if isinstance(error, NotationError) else str(error), line)


def _parse_load(lines: list[str], first: int) -> Load:
    match = _LOAD.fullmatch(lines[0])
    if match is None:
        raise NotationError(f"a load must be load <step> or load_with_nhcb <step>, got {lines[0]!r}", first)
    series: list[LoadSeries] = []
    default: tuple[int | None, ...] = ()
    pending: tuple[object, tuple[int | None, ...]] | None = None
    for number_, text in enumerate(lines[1:], first + 1):
        try:
            if is_start_line(text):
                labels, starts = parse_start_line(text)
                if labels:
                    pending = (labels, starts)
                else:
                    default = starts
                continue
            line = parse_series(text)
        except (NotationError, ParseError) as error:
            raise _at(number_, error) from error
        if pending and (pending[0] != line.labels or len(pending[1]) != len(line.points)):
            raise NotationError("an @st line must be followed by its own series of equal length", number_)
        series.append(LoadSeries(line, pending[1] if pending else default))
        pending = None
    if pending:
        raise NotationError("an @st line must be followed by its series", first + len(lines) - 1)
    try:
        return Load(first, duration_ms(match.group(2)), tuple(series), bool(match.group(1)))
    except ParseError as error:
        raise _at(first, error) from error


def _grid(match: re.Match[str], offset: int) -> Grid:
    start, end, step = (match.group(offset + k) for k in range(3))
    return Grid(duration_ms(start, signed=True), duration_ms(end, signed=True), duration_ms(step))


def _parse_head(line: str, number_: int) -> tuple[Eval, str | None]:
    """Read the eval line; returns it and the old-fashioned suffix (fail, warn, ordered, info)."""
    try:
        if match := _INSTANT.fullmatch(line):
            at_ms = duration_ms(match.group(2) or "0", signed=True)
            return Eval(number_, match.group(3), at_ms=at_ms), match.group(1)
        if match := _RANGE.fullmatch(line):
            return Eval(number_, match.group(5), grid=_grid(match, 2)), match.group(1)
    except ParseError as error:
        raise _at(number_, error) from error
    raise NotationError(
        f"an eval must be eval instant at <time> <query> or eval range from <t> to <t> step <t> <query>, got {line!r}",
        number_,
    )


def _parse_eval(lines: list[str], first: int) -> tuple[Eval, int]:
    command, suffix = _parse_head(lines[0], first)
    if suffix == "ordered":
        command = replace(command, ordered=True)
    elif suffix:
        command = _with_expect(command, Expect(suffix))
    used = 1
    for number_, text in enumerate(lines[1:], first + 1):
        used += 1
        try:
            if is_number(text):
                return replace(command, scalar=number(text)), used
            command = _parse_body(command, text)
        except (NotationError, ParseError, re.error) as error:
            raise _at(number_, error) from error
    return command, used


def _parse_body(command: Eval, text: str) -> Eval:
    if text.startswith("expect string"):
        return replace(command, string=unquote(text.removeprefix("expect string").strip()))
    if match := _EXPECT_MATRIX.fullmatch(text):
        return replace(command, matrix=_grid(match, 1))
    if match := _EXPECT.fullmatch(text):
        kind, how, pattern = match.groups()
        if kind == "ordered":
            if command.grid:
                raise NotationError("only an instant eval may be ordered: a range result is sorted by labels")
            return replace(command, ordered=True)
        return _with_expect(command, _expect(kind, pattern, regex=how == "regex"))
    if match := _OLD_FAIL.fullmatch(text):
        return _with_expect(command, _expect("fail", match.group(2), regex=match.group(1) == "regexp"))
    if text.startswith("expect "):
        raise NotationError(f"an expect line must name what is expected, got {text!r}")
    series = parse_series(text)
    if command.grid is None and command.matrix is None and len(series.points) != 1:
        raise NotationError(f"an instant eval must expect one value per series, got {len(series.points)}")
    return replace(command, series=(*command.series, series))


def _expect(kind: str, pattern: str | None, *, regex: bool) -> Expect:
    text = pattern.strip() if pattern else None
    if text and regex:
        re.compile(text)
    return Expect(kind, text, regex)


def _with_expect(command: Eval, expect: Expect) -> Eval:
    return replace(command, says=(*command.says, expect), fails=command.fails or expect.kind == "fail")
