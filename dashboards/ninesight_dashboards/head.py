"""The leaves every page shares: range, zone, banner, verdict, and what the browser needs for the next round."""

from __future__ import annotations

from collections.abc import Sequence

from ninesight_alerts.contract import AlertState, AlertView
from ninesight_analytics.contract import SlaReport, SlaState

from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.desk import Frame
from ninesight_dashboards.memo import Known
from ninesight_dashboards.numbers import age
from ninesight_dashboards.timerange import write_range

__all__ = ["banner", "round_trip", "verdict"]


def round_trip(frame: Frame, *, default_from: str) -> Leaves:
    """Return what the browser's scheduler reads: the sequence answered, the next wait, the zone's offsets."""
    chosen, zone = frame.chosen, frame.zone
    span = age(chosen.span_ms / 1000)
    shown = (
        f"last {span}"
        if chosen.live and chosen.from_text.startswith("now")
        else f"{zone.stamp(chosen.start_ms)} to {zone.stamp(chosen.end_ms)}"
    )
    return {
        "ack": {
            "seq": frame.ask.sequence,
            "refresh_ms": round(frame.refresh_s * 1000),
            "at_ms": frame.now_ms,
            "clock": zone.clock(frame.now_ms),
            "live": chosen.live,
            "preset": chosen.preset,
            "search": write_range(chosen, default_from=default_from),
            "offsets": zone.segments(chosen.start_ms - chosen.span_ms, chosen.end_ms),
            "zone": zone.label(frame.now_ms),
            "shown": f"{shown} · step {age(frame.grid.step_ms / 1000)}",
        }
    }


def banner(page: str, frame: Frame, failures: tuple[int, int, str]) -> Leaves:
    """Return the banner: the store does not answer, or part of the URL could not be read; else empty."""
    failed, every, error = failures
    text, level = "", "none"
    if failed and failed == every:
        wait = age(frame.refresh_s)
        text = f"The store does not answer: {error[:160]}. Showing what was read before; trying again every {wait}."
        level = "bad"
    elif frame.chosen.notes:
        text, level = f"The address could not be read in full: {'; '.join(frame.chosen.notes)}.", "info"
    return {f"{page}-banner.children": text, f"{page}-banner.className": f"ns-banner is-{level}"}


_SLA_WORDS = (
    (SlaState.BREACHED, "breached", "bad"),
    (SlaState.AT_RISK, "at risk", "warn"),
    (SlaState.OK, "ok", "plain"),
)


def verdict(page: str, alerts: Known[Sequence[AlertView]], reports: Known[Sequence[SlaReport]]) -> Leaves:
    """Return the counts of the verdict strip; "?" where the answer is not known."""
    leaves: Leaves = {}
    active = alerts.value
    for state, level in ((AlertState.FIRING, "bad"), (AlertState.PENDING, "warn")):
        count = None if active is None else sum(alert.state is state for alert in active)
        leaves |= _count(f"{page}-{state}", count, level, stale=bool(alerts.error))
    states = (
        None if reports.value is None else [o.state for report in reports.value for o in report.objectives]
    )
    counted = 0
    for standing, word, level in _SLA_WORDS:
        count = None if states is None else states.count(standing)
        counted += count or 0
        leaves |= _count(f"{page}-{word.replace(' ', '-')}", count, level, stale=bool(reports.error))
    unknown = None if states is None else len(states) - counted
    return leaves | _count(f"{page}-unknown", unknown, "empty", stale=bool(reports.error))


def _count(leaf: str, count: int | None, level: str, *, stale: bool) -> Leaves:
    shown = level if count else "zero"
    return {
        f"{leaf}-number.children": "?" if count is None else str(count),
        f"{leaf}-count.className": f"ns-count is-{shown}" + (" is-stale" if stale else ""),
    }
