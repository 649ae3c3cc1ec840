"""A notation for promises about rules: load series, go to a time, expect alerts.

    rules
      groups:
      - name: latency
        rules:
        - {alert: TooSlow, expr: latency_ms > 100, for: 1m}

    load 30s
      latency_ms{model="m"} 20x4 400x5 _x3

    at 2m
      expect pending TooSlow{model="m"} 400
    at 3m
      expect firing TooSlow{model="m"}
      expect notice firing TooSlow{model="m"}

`20x4` is the value 20 four times, `_` a gap, `stale` the stale marker. The rules are evaluated at
0 and at every interval of `load`, or of `every 15s` where that is given. At each `at`:
`expect pending|firing NAME{labels} [value]` lines together name all pending and firing alerts
(`expect none`: there is none); `expect resolved ...` names some; `expect notice firing|resolved ...`
lines together name what became so at that very evaluation (`expect no notice`: nothing did);
`expect annotation NAME TEXT` holds for at least one active alert. `#` begins a comment line.
"""

from __future__ import annotations

import math
import re
import struct
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ninesight_query.contract import Engine, Labels

from ninesight_alerts.answers import STALE_NAN
from ninesight_alerts.contract import AlertState
from ninesight_alerts.durations import duration_ms, duration_text
from ninesight_alerts.errors import AlertsError
from ninesight_alerts.evaluation import RuleState, evaluate_rule
from ninesight_alerts.rulefile import rules_from_text
from ninesight_alerts.rules import RuleGroup
from ninesight_alerts.step import ActiveAlert, Transition

__all__ = [
    "EngineOf",
    "Scenario",
    "ScenarioError",
    "Series",
    "parse_scenario",
    "parse_series",
    "run_scenario",
]

Series = Mapping[Labels, Sequence[tuple[int, float]]]
"""Samples by series: (milliseconds, value)."""

EngineOf = Callable[[Series], Engine]
"""Gives an engine over the loaded series."""

EVALUATIONS_MAX = 100_000
SAMPLES_MAX = 1_000_000

_SERIES = re.compile(r'([a-zA-Z_:][\w:]*)?\s*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s*(.*)')
_PAIR = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_RUN = re.compile(r"(\S+?)(?:x(\d{1,7}))?")


class ScenarioError(AlertsError):
    """A scenario is not written as it must be; the message names the line."""


@dataclass
class Moment:
    """What is expected at one time."""

    at_ms: int
    lines: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Scenario:
    """A scenario as read."""

    groups: tuple[RuleGroup, ...] = ()
    series: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)
    every_ms: int = 0
    moments: list[Moment] = field(default_factory=list)


def run_scenario(source: str | Path, engine_of: EngineOf) -> list[str]:
    """Return what does not hold, one line each with its line number; empty if all holds."""
    text = source.read_text() if isinstance(source, Path) else source
    scenario = parse_scenario(text)
    engine = engine_of(scenario.series)
    states = {rule.key: RuleState() for group in scenario.groups for rule in group.rules}
    problems: list[str] = []
    moments = {moment.at_ms: moment for moment in scenario.moments}
    for at_ms in range(0, max(moments, default=0) + 1, scenario.every_ms):
        for group in scenario.groups:
            for rule in group.rules:
                states[rule.key] = evaluate_rule(group, rule, states[rule.key], engine, at_ms)
                if states[rule.key].status.health == "err":
                    problems.append(
                        f"at {duration_text(at_ms)}: {rule.name}: {states[rule.key].status.last_error}"
                    )
        if moment := moments.get(at_ms):
            problems += _check(moment, list(states.values()))
    return problems


def parse_scenario(text: str) -> Scenario:
    """Return the scenario of a text. Raises ScenarioError or RuleError."""
    scenario = Scenario()
    step_ms = 0
    for number, head, block in _blocks(text):
        word, _, rest = head.partition(" ")
        if word == "rules":
            scenario.groups = _rules(block)
        elif word == "load":
            step_ms = _duration(rest, number)
            scenario.every_ms = scenario.every_ms or step_ms
            for place, line in block:
                _load(scenario, line, step_ms, place)
        elif word == "every":
            scenario.every_ms = _duration(rest, number)
        elif word == "at":
            scenario.moments.append(Moment(_duration(rest, number, zero=True), block))
        else:
            raise ScenarioError(f"line {number}: a line begins with rules, load, every or at, got {word!r}")
    _usable(scenario)
    return scenario


def _usable(scenario: Scenario) -> None:
    if not scenario.every_ms or not scenario.groups or not scenario.moments:
        raise ScenarioError("a scenario needs rules, load (or every) and at")
    for moment in scenario.moments:
        if moment.at_ms % scenario.every_ms:
            raise ScenarioError(
                f"at {duration_text(moment.at_ms)}: must be a multiple of {duration_text(scenario.every_ms)}"
            )
        if moment.at_ms // scenario.every_ms > EVALUATIONS_MAX:
            raise ScenarioError(f"a scenario takes at most {EVALUATIONS_MAX} evaluations")


def _blocks(text: str) -> list[tuple[int, str, list[tuple[int, str]]]]:
    """Return (line number, unindented line, its indented lines)."""
    blocks: list[tuple[int, str, list[tuple[int, str]]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            blocks.append((number, line.strip(), []))
        elif blocks:
            blocks[-1][2].append((number, line.rstrip()))
        else:
            raise ScenarioError(f"line {number}: the first line must not be indented")
    return blocks


def _rules(block: list[tuple[int, str]]) -> tuple[RuleGroup, ...]:
    return rules_from_text(textwrap.dedent("\n".join(line for _, line in block)), interval_ms=60_000)


def _duration(text: str, number: int, *, zero: bool = False) -> int:
    try:
        value = duration_ms(text.strip())
    except ValueError as error:
        raise ScenarioError(f"line {number}: {error}") from None
    if not value and not zero:
        raise ScenarioError(f"line {number}: the interval must be above 0")
    return value


def parse_series(text: str, number: int = 0) -> tuple[Labels, str]:
    """Return the labels of `name{a="b"} rest`, and the rest. Raises ScenarioError."""
    match = _SERIES.fullmatch(text.strip())
    name, inner, rest = match.groups() if match else (None, None, "")
    if name is None and inner is None:
        raise ScenarioError(f'line {number}: a series is written name{{label="value"}}, got {text.strip()!r}')
    pairs = {key: re.sub(r"\\(.)", r"\1", value) for key, value in _PAIR.findall(inner or "")}
    if _PAIR.sub("", inner or "").strip():
        raise ScenarioError(f'line {number}: labels are written label="value", got {{{inner}}}')
    if name:
        pairs["__name__"] = name
    return tuple(sorted(pairs.items())), rest


def _load(scenario: Scenario, line: str, step_ms: int, number: int) -> None:
    labels, rest = parse_series(line, number)
    at_ms, samples = 0, scenario.series.setdefault(labels, [])
    for word in rest.split():
        match = _RUN.fullmatch(word)
        assert match is not None
        text, count = match[1], int(match[2] or 1)
        if len(samples) + count > SAMPLES_MAX:
            raise ScenarioError(f"line {number}: a series has at most {SAMPLES_MAX} samples")
        value = _value(text, number)
        if value is not None:
            samples += [(at_ms + step_ms * position, value) for position in range(count)]
        at_ms += step_ms * count


def _value(text: str, number: int) -> float | None:
    if text in {"_", "stale"}:
        return None if text == "_" else STALE_NAN
    try:
        return float(text)
    except ValueError:
        raise ScenarioError(f"line {number}: a value is a number, _ or stale, got {text!r}") from None


def _check(moment: Moment, states: Sequence[RuleState]) -> list[str]:
    alerts = [alert for state in states for alert in state.states.values()]
    notices = [
        item for state in states for item in state.transitions if item.alert.state is not AlertState.PENDING
    ]
    problems: list[str] = []
    expected: list[str] = []
    told: list[str] | None = None
    for number, line in moment.lines:
        words = line.split(None, 2)
        kind = words[1] if len(words) > 1 and words[0] == "expect" else ""
        rest = words[2] if len(words) > 2 else ""
        if kind in {"pending", "firing"}:
            expected.append(_expected(kind, rest, alerts, number))
        elif kind == "resolved" and f"resolved {_shown(parse_series(rest, number)[0])}" not in map(
            _state, alerts
        ):
            problems.append(f"line {number}: {rest} is not resolved")
        elif kind == "notice":
            state, _, series = rest.partition(" ")
            told = [*(told or []), f"{state} {_shown(parse_series(series, number)[0])}"]
        elif kind == "no" and rest == "notice":
            told = told or []
        elif kind == "annotation":
            problems += _annotation(rest, alerts, number)
        elif kind not in {"none", "resolved"}:
            raise ScenarioError(f"line {number}: unknown expectation {line.strip()!r}")
    found = sorted(_state(alert) for alert in alerts if alert.state is not AlertState.RESOLVED)
    place = f"at {duration_text(moment.at_ms)}"
    if found != sorted(expected):
        problems.append(f"{place}: expected {sorted(expected) or 'none'}, got {found or 'none'}")
    if told is not None and sorted(told) != _noticed(notices):
        problems.append(
            f"{place}: expected the notices {sorted(told) or 'none'}, got {_noticed(notices) or 'none'}"
        )
    return problems


def _expected(kind: str, rest: str, alerts: Sequence[ActiveAlert], number: int) -> str:
    """Return `state labels`, with the value where one is given and differs from what is there."""
    labels, value = parse_series(rest, number)
    text = f"{kind} {_shown(labels)}"
    if value:
        wanted = _value(value, number)
        given = next((alert.value for alert in alerts if _state(alert) == text), None)
        if wanted is None or given is None or not _same(wanted, given):
            return f"{text} {value} (value {given})"
    return text


def _same(wanted: float, given: float) -> bool:
    if math.isnan(wanted) or math.isnan(given):
        return math.isnan(wanted) and math.isnan(given)
    return struct.pack("<d", wanted) == struct.pack("<d", given) or math.isclose(wanted, given, rel_tol=1e-12)


def _annotation(rest: str, alerts: Sequence[ActiveAlert], number: int) -> list[str]:
    name, _, text = rest.partition(" ")
    found = [
        dict(alert.annotations).get(name, "") for alert in alerts if alert.state is not AlertState.RESOLVED
    ]
    return [] if text in found else [f"line {number}: expected annotation {name} {text!r}, got {found}"]


def _noticed(notices: Sequence[Transition]) -> list[str]:
    return sorted(_state(item.alert) for item in notices)


def _state(alert: ActiveAlert) -> str:
    pairs = dict(alert.labels)
    pairs["__name__"] = pairs.pop("alertname", "")
    return f"{alert.state.value} {_shown(tuple(sorted(pairs.items())))}"


def _shown(labels: Labels) -> str:
    pairs = dict(labels)
    name = pairs.pop("__name__", "")
    inner = ", ".join(f'{key}="{value}"' for key, value in pairs.items())
    return f"{name}{{{inner}}}" if inner else name
