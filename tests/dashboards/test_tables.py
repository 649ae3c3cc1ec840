"""Tiles and table rows: what is written, how it is sorted, and what is said where there is nothing."""

import json
from dataclasses import replace

from ninesight_alerts.contract import AlertState, AlertView, DeliveryView
from ninesight_analytics.contract import (
    Basis,
    CostLine,
    CostReport,
    Estimate,
    ModelSummary,
    ObjectiveReport,
    SlaReport,
    SlaState,
    Window,
)
from ninesight_dashboards import tables, tiles
from ninesight_dashboards.lines import State
from ninesight_dashboards.sparkline import EMPTY, sparkline, thinned
from ninesight_dashboards.zone import zone_of

WINDOW = Window(0, 3_600_000)
UTC = zone_of("UTC")
NOTHING = Estimate(None)


def summary(model, rate=10.0, errors=0.0, p95=0.1):
    latency = {
        q: Estimate(p95, p95 * 0.99, p95 * 1.01, rate * 3600, Basis.NATIVE) for q in (0.5, 0.9, 0.95, 0.99)
    }
    counted = Estimate(rate, count=rate * 3600, basis=Basis.COUNTER)
    ratio = Estimate(errors, 0, 1, rate * 3600) if rate else NOTHING
    return ModelSummary(
        (model,), {"model": model}, counted, ratio, {}, latency, NOTHING, NOTHING, NOTHING, NOTHING
    )


def report(model, state=SlaState.OK, left=0.9, threshold=None):
    burn = {"5m": Estimate(0.4), "1h": Estimate(1.26)}
    objective = ObjectiveReport(
        "availability",
        "availability",
        0.999,
        Estimate(0.9995, count=1e6),
        1e6,
        1e6,
        Estimate(left),
        burn,
        state,
        threshold,
    )
    return SlaReport(f"{model}-sla", model, "acme", model, WINDOW, (objective,), state)


def bill(idle=1.0, **amounts):
    lines = tuple(
        CostLine(model, "1", 60.0, amount, 1000.0, Estimate(amount / 1000), Estimate(amount))
        for model, amount in amounts.items()
    )
    total = idle + sum(amounts.values())
    return CostReport(WINDOW, "USD", total, total - idle, idle, idle / total, lines, (), Basis.SDK_BATCH)


def alert(rule="Burn", state=AlertState.FIRING, fired=60_000, resolved=None, **labels):
    return AlertView(
        rule,
        "g",
        state,
        tuple(sorted(labels.items())),
        {"summary": "it burns"},
        1.0,
        30_000,
        fired,
        resolved,
        rule,
    )


def test_models_stand_worst_first():
    """Firing comes before at risk, that before healthy, and nobody's model last."""
    rows = tables.model_rows(
        [
            summary("idle", rate=0.0),
            summary("fine"),
            summary("risky"),
            summary("burning"),
            summary("erring", errors=0.2),
        ],
        [report("risky", SlaState.AT_RISK, 0.1), report("burning", left=0.5)],
        bill(fine=2.0),
        {"burning": 2},
        {"fine": [1.0, None, 3.0]},
        search="?from=now-1h&to=now",
    )
    assert [(row["model"], row["state_t"]) for row in rows] == [
        ("burning", "2 firing"),
        ("risky", "at risk"),
        ("erring", "ok"),
        ("fine", "ok"),
        ("idle", "no traffic"),
    ]
    assert [row["rank"] for row in rows] == [0, 1, 2, 3, 4]
    fine = rows[3]
    assert (fine["cost_t"], fine["p95_t"], fine["spark"]) == ("2.0000 USD", "100", [1.0, None, 3.0])
    assert "between 99.0 and 101 ms" in fine["p95_h"]
    assert (rows[4]["errors_t"], rows[4]["cost_t"]) == ("no traffic", "-")
    json.dumps(rows)


def test_objectives_stand_worst_first_and_say_what_they_promise():
    """Target, attained, budget and burn in one row."""
    rows = tables.objective_rows([report("a"), report("b", SlaState.BREACHED, -0.2, threshold=0.25)])
    assert [(row["model"], row["budget_t"]) for row in rows] == [("b", "-20 %"), ("a", "90 %")]
    assert rows[0]["target_t"] == "99.9 % < 250 ms"
    assert rows[0]["burn_t"] == "5m 0.40x · 1h 1.3x"
    assert tables.worst_budget([report("a"), report("b", left=-0.2)])[0].model == "b"
    assert tables.worst_budget([], "a") is None


def test_an_undecidable_objective_shows_both_bounds():
    """A threshold inside a bucket is answered by an interval, never by an invented number."""
    known = report("c", SlaState.UNDECIDABLE)
    objective = replace(known.objectives[0], compliance=Estimate(0.99, 0.98, 0.9995))
    row = tables.objective_rows([replace(known, objectives=(objective,))])[0]
    assert (row["state"], row["compliance_t"]) == ("empty", "98 % to 99.95 %")


def test_idle_stands_first_in_the_bill():
    """Shares of all rows are the whole bill."""
    rows = tables.cost_rows(bill(idle=1.0, ranker=2.0, sentiment=1.0))
    assert [row["name"] for row in rows] == ["idle", "ranker 1", "sentiment 1"]
    assert sum(row["share"] for row in rows) == 1.0
    assert [row["id"] for row in tables.cost_rows(bill(ranker=2.0), "ranker")] == ["ranker/1"]
    assert tables.cost_rows(None) == []


def test_alerts_tell_their_age_and_their_webhook():
    """The latest attempt that says what the alert says is shown; a pending alert is not due."""
    attempts = [
        DeliveryView("n2", "hook", "resolved", 1, 90_000, "delivered", "HTTP 200", "Burn"),
        DeliveryView("n1", "hook", "firing", 3, 70_000, "retry", "connection refused", "Burn, Other"),
    ]
    firing, pending, over = tables.alert_rows(
        [
            alert(model="a"),
            alert("New", AlertState.PENDING, None),
            alert("Burn", AlertState.RESOLVED, 60_000, 80_000),
        ],
        attempts,
        now_ms=120_000,
        zone=UTC,
    )
    assert (firing["since_t"], firing["delivery_t"]) == ("1 m", "retry 00:01:10, try 3 (connection refused)")
    assert (pending["since_t"], pending["delivery_t"]) == ("1 m 30 s", "not due")
    assert (over["since_t"], over["delivery_t"]) == ("20 s to 00:01:20", "delivered 00:01:30 (HTTP 200)")
    assert firing["summary"] == "it burns"


def test_an_old_delivery_is_not_a_new_alerts():
    """A message of an earlier firing does not count for this one."""
    old = [DeliveryView("n0", "hook", "firing", 1, 10_000, "delivered", "HTTP 200", "Burn")]
    assert tables.alert_rows([alert()], old, now_ms=120_000, zone=UTC)[0]["delivery_t"] == "no attempt yet"


def test_tiles_are_coloured_only_where_it_is_a_judgement():
    """Errors from 0.1 % and 1 %, budget under a quarter and gone; a healthy page is grey."""
    rate = Estimate(10.0, count=36_000)

    def level(ratio):
        return tiles.error_tile(Estimate(ratio, count=36_000), rate, ()).level

    assert [level(ratio) for ratio in (0.0005, 0.001, 0.01)] == ["plain", "warn", "bad"]
    budgets = [
        tiles.budget_tile(("m", report("m", left=left).objectives[0]), configured=True).level
        for left in (0.5, 0.2, -0.1)
    ]
    assert budgets == ["plain", "warn", "bad"]
    assert [tiles.share_tile("gpu 0", (0.9,), (used,)).level for used in (0.5, 0.91, 0.99)] == [
        "plain",
        "warn",
        "bad",
    ]


def test_absence_has_its_own_words():
    """No data, no traffic and zero are three things."""
    zero, none = Estimate(0.0, count=0), NOTHING
    assert tiles.rate_tile(zero, (0.0,)).value == "0 /s"
    assert tiles.rate_tile(Estimate(3.0, count=900), (None, None, None)).sub == "mean of the range, none now"
    assert tiles.rate_tile(none, ()).state is State.NO_DATA
    assert tiles.error_tile(none, zero, ()).state is State.NO_TRAFFIC
    assert tiles.latency_tile(none, zero, (), quantile=0.95).state is State.NO_TRAFFIC
    assert tiles.latency_tile(none, Estimate(5.0), (), quantile=0.95).state is State.NO_DATA
    assert tiles.cost_tile(None).sub == "no price book configured"
    assert tiles.budget_tile(None, configured=False).sub == "no SLA configured"


def test_percentiles_carry_bounds_and_count():
    """The bounds share a unit, and few requests are marked."""
    estimate = Estimate(0.045, 0.0448, 0.0453, 12_000)
    assert tiles.latency_tile(estimate, Estimate(5.0), (), quantile=0.95).sub == "44.8-45.3 ms · n 12.0k"
    few = tiles.latency_tile(Estimate(0.045, 0.0448, 0.0453, 30), Estimate(5.0), (), quantile=0.99)
    assert few.sub.endswith("(few)")
    over = tiles.latency_tile(Estimate(10.0, 10.0, float("inf"), 500), Estimate(5.0), (), quantile=0.95)
    assert (over.value, over.sub) == ("10.0 s", "or more · n 500")


def test_a_percentile_above_the_last_bucket_has_no_upper_bound():
    """Classic buckets end somewhere: a row says so instead of failing."""
    row = summary("old")
    row.latency[0.95] = Estimate(10.0, 10.0, float("inf"), 500, Basis.CLASSIC)
    shown = tables.model_rows([row], [], None, {}, {}, search="")[0]
    assert shown["p95_h"].startswith("between 10,000 and ∞ ms")
    assert (shown["rate"], shown["rate_t"]) == (None, "-")


def test_rates_add_up_and_errors_are_weighted():
    """A busy model's errors weigh more than a quiet one's."""
    rate, ratio = tiles.summed([summary("a", 90.0, 0.0), summary("b", 10.0, 0.5)])
    assert (rate.value, ratio.value) == (100.0, 0.05)
    assert tiles.summed([])[0].value is None
    assert tiles.summed([summary("a", 0.0)])[1].value is None


def test_cost_per_thousand_joins_versions():
    """All versions of a model together."""
    assert tiles.per_thousand_tile(bill(ranker=2.0), "ranker").value == "2.0000 USD"
    assert tiles.per_thousand_tile(bill(ranker=2.0), "other").sub == "no cost attributed"


def test_sparklines_keep_spikes_and_gaps():
    """Thinning keeps the largest of its share; nothing measured gives an empty image."""
    values = [1.0] * 500
    values[217] = 99.0
    assert max(thinned(values, 40)) == 99.0
    assert len(thinned(values, 40)) == 40
    assert sparkline([None, None]) == EMPTY
    assert sparkline([1.0, None, 2.0]).count("M") == 2
    assert sparkline([0.0, 0.0]).startswith("data:image/svg+xml,")
