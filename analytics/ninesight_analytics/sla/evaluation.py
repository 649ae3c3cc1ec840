"""How an SLA stands now: compliance, budget left, burn, each with what is not known about it."""

from __future__ import annotations

from collections.abc import Mapping

from ninesight_query.contract import Engine
from ninesight_query.durations import duration_ms

from ninesight_analytics.contract import NO_DATA, Estimate, ObjectiveReport, SlaReport, SlaState, Window
from ninesight_analytics.presence import grid_of, matrix
from ninesight_analytics.selectors import selector
from ninesight_analytics.sla.agreement import Objective, Sla
from ninesight_analytics.sla.burn import FAILURES_MIN
from ninesight_analytics.sla.events import Counts
from ninesight_analytics.wilson import wilson

__all__ = ["evaluate"]

_WORST_FIRST = (
    SlaState.BREACHED,
    SlaState.AT_RISK,
    SlaState.UNDECIDABLE,
    SlaState.NO_DATA,
    SlaState.OK,
)
_COVERAGE_STEPS = 100


def evaluate(engine: Engine, sla: Sla, now_ms: int) -> SlaReport:
    """Return how the SLA stands at a time, by the requests that were observed in its period.

    One to five queries for each objective and look-back, and one for coverage. Raises QueryError.
    """
    window = sla.period.window(now_ms)
    reports: list[ObjectiveReport] = []
    notes: list[str] = []
    simulated = False
    for objective in sla.objectives:
        counts = objective.events.counts(engine, window)
        burning = {
            text: objective.events.counts(engine, Window(now_ms - duration_ms(text), now_ms))
            for text in sla.look_backs
        }
        simulated |= counts.simulated
        report = _objective(objective, sla, counts, burning)
        reports.append(report)
        notes += _notes(objective, counts, report)
    if (covered := _coverage(engine, sla, window)) is not None and 0 < covered < 0.99:
        notes.append(f"samples cover {covered:.0%} of the period; compliance is of the requests observed")
    states = {report.state for report in reports}
    return SlaReport(
        name=sla.name,
        service=sla.service,
        customer=sla.customer,
        model=sla.model,
        window=window,
        objectives=tuple(reports),
        state=next(state for state in _WORST_FIRST if state in states),
        simulated=simulated,
        notes=tuple(notes),
    )


def _objective(
    objective: Objective, sla: Sla, counts: Counts, burning: Mapping[str, Counts]
) -> ObjectiveReport:
    compliance = counts.compliance
    low = 0 < counts.total < objective.minimum_requests
    state = _state(objective, compliance, counts, low=low)
    if state is SlaState.OK and _burns(objective, sla, burning):
        state = SlaState.AT_RISK
    if low and compliance.value is not None:
        lower, upper = _interval(counts)
        compliance = Estimate(compliance.value, lower, upper, compliance.count, compliance.basis)
    return ObjectiveReport(
        name=objective.name,
        kind=objective.events.kind,
        target=objective.target,
        compliance=compliance,
        good=counts.good,
        total=counts.total,
        budget_left=_budget_left(compliance, objective.budget),
        burn_rates={text: _burn_rate(seen.compliance, objective.budget) for text, seen in burning.items()},
        state=state,
        threshold_s=objective.events.threshold_s,
    )


def _state(objective: Objective, compliance: Estimate, counts: Counts, *, low: bool) -> SlaState:
    """Judge by what is certain. Low traffic: a miss must be significant to be a breach."""
    if compliance.value is None or compliance.lower is None or compliance.upper is None:
        return SlaState.NO_DATA
    if compliance.lower >= objective.target:
        return SlaState.OK
    if compliance.upper >= objective.target:
        return SlaState.UNDECIDABLE
    if low and _interval(counts)[1] >= objective.target:
        return SlaState.UNDECIDABLE
    return SlaState.BREACHED


def _burns(objective: Objective, sla: Sla, burning: Mapping[str, Counts]) -> bool:
    """Say whether the budget burns faster than the period allows: over a long look-back, and still now."""
    for window in sla.burn_windows:
        rates = [
            _burn_rate(burning[text].compliance, objective.budget) for text in (window.long, window.short)
        ]
        fast = all(rate.lower is not None and rate.lower > 1 for rate in rates)
        # Increase is rarely whole: two failures may read 1.9999.
        if fast and burning[window.long].bad >= FAILURES_MIN - 0.01:
            return True
    return False


def _interval(counts: Counts) -> tuple[float, float]:
    """Return Wilson's interval, around what the buckets leave open."""
    return wilson(counts.good_lower, counts.total)[0], wilson(counts.good_upper, counts.total)[1]


def _budget_left(compliance: Estimate, budget: float) -> Estimate:
    if compliance.value is None or compliance.lower is None or compliance.upper is None:
        return NO_DATA
    value, lower, upper = (
        1 - (1 - share) / budget for share in (compliance.value, compliance.lower, compliance.upper)
    )
    return Estimate(value, lower, upper, compliance.count, compliance.basis)


def _burn_rate(compliance: Estimate, budget: float) -> Estimate:
    if compliance.value is None or compliance.lower is None or compliance.upper is None:
        return NO_DATA
    value, lower, upper = (
        (1 - share) / budget for share in (compliance.value, compliance.upper, compliance.lower)
    )
    return Estimate(value, lower, upper, compliance.count, compliance.basis)


def _notes(objective: Objective, counts: Counts, report: ObjectiveReport) -> list[str]:
    compliance = report.compliance
    if compliance.lower is None or compliance.upper is None:
        return [f"{objective.name}: no requests in the period, so nothing is known"]
    if counts.total < objective.minimum_requests:
        note = (
            f"only {counts.total:.0f} requests, fewer than {objective.minimum_requests:g}; "
            f"95 % interval {compliance.lower:.4%} to {compliance.upper:.4%}"
        )
        return [f"{objective.name}: {note}"]
    if report.state is SlaState.UNDECIDABLE:
        note = (
            f"undecidable between {compliance.lower:.4%} and {compliance.upper:.4%}; "
            f"a bucket bound at {objective.events.threshold_s:g} s would decide it"
        )
        return [f"{objective.name}: {note}"]
    return []


def _coverage(engine: Engine, sla: Sla, window: Window) -> float | None:
    """Return the share of the period in which the model's request series were there; None without a model."""
    if not sla.model:
        return None
    grid = grid_of(window, _COVERAGE_STEPS)
    answer = matrix(engine, f"count({selector('model_requests_total', {'model': sla.model})})", grid)
    inside = answer.timestamps > grid.start_ms
    return float((answer.present & inside).any(axis=0).sum()) / grid.steps
