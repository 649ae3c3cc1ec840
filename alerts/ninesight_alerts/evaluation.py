"""One evaluation of one rule, without schedule or database: ask the engine, take the step.

Whatever goes wrong makes the rule unhealthy and leaves its alerts as they are: an engine that is
away for a minute neither fires nor resolves anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ninesight_query.contract import Engine, Labels
from ninesight_query.errors import QueryError

from ninesight_alerts.answers import (
    Row,
    Surroundings,
    alert_samples,
    alert_series,
    recorded_samples,
    rows,
    stale,
)
from ninesight_alerts.contract import RecordedSample
from ninesight_alerts.errors import AlertsError
from ninesight_alerts.rules import Rule, RuleGroup
from ninesight_alerts.step import States, Transition, step

__all__ = ["RuleState", "RuleStatus", "evaluate_rule"]

ERROR_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """How the last evaluation went. `health` is ok, err or unknown."""

    health: str = "unknown"
    last_error: str = ""
    last_evaluation_ms: int | None = None
    evaluation_s: float = 0.0


@dataclass(frozen=True)
class RuleState:
    """Everything a rule remembers between two evaluations, and what the last one brought."""

    states: States = field(default_factory=dict)
    status: RuleStatus = RuleStatus()
    written: tuple[Labels, ...] = ()
    """Series the last evaluation wrote, to mark those that end."""
    transitions: tuple[Transition, ...] = ()
    samples: tuple[RecordedSample, ...] = ()
    """What is to be recorded, stale markers included."""


def evaluate_rule(
    group: RuleGroup,
    rule: Rule,
    before: RuleState,
    engine: Engine,
    now_ms: int,
    *,
    around: Surroundings | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> RuleState:
    """Return the rule's state after evaluating it at `now_ms`. Never raises; see `status`."""
    started = monotonic()
    try:
        reached = _evaluated(group, rule, before, engine, now_ms, around or Surroundings())
        problem = reached.status.last_error
    except (QueryError, AlertsError) as error:
        reached, problem = RuleState(before.states, written=before.written), str(error)
    except Exception as error:
        # A defect in an engine or a function must not stop the other rules.
        reached, problem = (
            RuleState(before.states, written=before.written),
            f"{type(error).__name__}: {error}",
        )
    status = RuleStatus("err" if problem else "ok", problem[:ERROR_CHARS_MAX], now_ms, monotonic() - started)
    return RuleState(reached.states, status, reached.written, reached.transitions, reached.samples)


def _evaluated(
    group: RuleGroup, rule: Rule, before: RuleState, engine: Engine, now_ms: int, around: Surroundings
) -> RuleState:
    at_ms = now_ms - group.query_offset_ms
    found = rows(engine.instant(rule.expr, at_ms))
    if rule.kind == "recording":
        return _recorded(group, rule, before, found, at_ms)
    given = alert_samples(rule, found, engine, at_ms, around)
    reached = step(before.states, given, now_ms, group.settings(rule))
    samples = alert_series(tuple(reached.states.values()), at_ms)
    return RuleState(
        reached.states,
        RuleStatus(last_error=reached.problem),
        tuple(sample.labels for sample in samples),
        reached.transitions,
        samples + stale(before.written, samples, at_ms),
    )


def _recorded(group: RuleGroup, rule: Rule, before: RuleState, found: Sequence[Row], at_ms: int) -> RuleState:
    samples, problem = recorded_samples(rule, found, at_ms), ""
    if group.limit and len(samples) > group.limit:
        problem = f"limit allows {group.limit} series, the rule gave {len(samples)}; none was written"
        samples = ()
    return RuleState(
        before.states,
        RuleStatus(last_error=problem),
        tuple(sample.labels for sample in samples),
        samples=samples + stale(before.written, samples, at_ms),
    )
