"""Both pages as leaf values over a real engine and a real store, without a browser."""

import time
from dataclasses import replace

import pytest
from dash import no_update
from ninesight_alerts.contract import AlertState, AlertView
from ninesight_analytics import pricebook
from ninesight_dashboards.callbacks import news, outputs_of
from ninesight_dashboards.contract import Ask, PagesSettings
from ninesight_dashboards.desk import Desk
from ninesight_dashboards.figure import FigureChange
from ninesight_dashboards.figures import EngineFigures
from ninesight_dashboards.model_page import model_of, model_page
from ninesight_dashboards.overview import overview
from ninesight_dashboards.paint import packet
from ninesight_dashboards.testing import FakeAlerts, FakeEngine, FakeFigures
from ninesight_dashboards.testing import Fleet as FakeFleet
from ninesight_query.engine import LocalEngine
from ninesight_query.errors import UnavailableError
from ninesight_store.memory import MemoryStore

from .conftest import World
from .fleet import Fleet

NOW = 1_790_000_000_000
LIVE = Ask(1, "/", "", "light", "UTC")


class Breakable:
    """An engine that fails while `error` is set."""

    def __init__(self, engine):
        self._engine = engine
        self.error = None

    def __getattr__(self, name):
        if name in ("instant", "range", "series") and self.error is not None:
            raise self.error
        return getattr(self._engine, name)


class Bench:
    """A desk whose clock stands still until it is moved."""

    def __init__(self, world, *, price_book=None):
        self.now_ms = NOW
        self.engine = Breakable(LocalEngine(world.store, now_ms=lambda: self.now_ms))
        figures = EngineFigures(self.engine, price_book=price_book, slas=())
        self.desk = Desk(
            engine=self.engine,
            figures=figures,
            alerts=world.alerts,
            settings=PagesSettings(),
            now_ms=lambda: self.now_ms,
        )


@pytest.fixture(scope="module")
def filled():
    """Half an hour of three models, one of them with classic buckets on another instance."""
    world = World(Fleet(models=("ranker", "sentiment"), start_ms=NOW - 1_800_000))
    world.write_until(NOW)
    classic = Fleet(
        models=("old-server",), instances=("node-c:9000",), start_ms=NOW - 1_800_000, classic=True
    )
    world.store.write(classic.batch(range(NOW - 1_800_000, NOW + 1, 5000)))
    return world


def test_the_overview_shows_every_part(filled):
    """Tiles, charts, tables and cost are there, from native and classic histograms alike."""
    leaves = overview(Bench(filled, price_book=pricebook.built_in()).desk, LIVE)
    assert {row["model"] for row in leaves["models.rowData"]} == {"ranker", "sentiment", "old-server"}
    for row in leaves["models.rowData"]:
        assert row["p95"] > 0
        assert row["rate"] > 0
        assert any(row["spark"])
    for panel in ("traffic", "errors", "latency", "gpu-utilization", "gpu-memory"):
        figure = leaves[f"{panel}.figure"]
        assert isinstance(figure, FigureChange)
        assert any(value is not None for value in figure.data[0]["y"])
        assert leaves[f"{panel}-panel.className"] == "ns-panel is-ok"
    assert leaves["tile-cost-value.children"].endswith("USD/h")
    assert leaves["costs.rowData"][0]["idle"] is True
    assert leaves["overview-banner.children"] == ""
    assert leaves["first-run.className"] == "ns-first-run"
    assert leaves["tile-budget-sub.children"] == "no SLA configured"


def test_the_tile_and_the_chart_agree(filled):
    """The p95 over the range lies within the p95 lines of the chart."""
    leaves = model_page(Bench(filled).desk, Ask(1, "/model/ranker", "", "light", "UTC"))
    p95 = [value for value in leaves["model-latency.figure"].data[2]["y"] if value is not None]
    row = next(row for row in leaves["instances.rowData"] if row["instance"] == "node-a:8000")
    assert min(p95) * 0.9 <= row["p95"] <= max(p95) * 1.1
    assert " · n " in leaves["tile-model-p95-sub.children"]


def test_the_model_page_shows_one_model(filled):
    """Stages, outcomes, instances and percentiles are the model's own."""
    leaves = model_page(Bench(filled).desk, Ask(1, "/model/ranker", "", "dark", "UTC"))
    assert leaves["model-name.children"] == "ranker"
    names = [trace["name"] for trace in leaves["model-latency.figure"].data]
    assert names == ["p50", "p90", "p95", "p99", "mean"]
    stages = [trace["name"] for trace in leaves["model-stages.figure"].data]
    assert stages == ["preprocess", "queue", "batch", "inference", "postprocess"]
    outcomes = [trace["name"] for trace in leaves["model-outcomes.figure"].data]
    assert outcomes == ["ok", "shed", "timeout", "error"]
    assert {row["instance"] for row in leaves["instances.rowData"]} == {"node-a:8000", "node-b:8000"}
    assert leaves["model-alerts-empty.children"] == "no alert of this model is kept"


def test_an_unknown_model_is_no_error(filled):
    """A mistyped name shows a page that says there is nothing."""
    leaves = model_page(Bench(filled).desk, Ask(1, "/model/nobody", "", "dark", "UTC"))
    assert leaves["tile-model-rate-value.children"] == "no data"
    assert "is-no-data" in leaves["model-latency-panel.className"]
    assert leaves["instances-empty.children"] == "no instance of nobody reported in this range"


def test_every_declared_leaf_is_set(filled):
    """Each chart and table has a value, and the packet holds the rest as plain values."""
    bench = Bench(filled)
    for page, leaves in (
        ("overview", overview(bench.desk, LIVE)),
        ("model", model_page(bench.desk, Ask(1, "/model/ranker", "", "dark", "UTC"))),
    ):
        assert all(name in leaves for name in outputs_of(page))
        sent = packet(leaves)
        assert sent["ack"]["refresh_ms"] == 5000
        assert all(isinstance(text, str) for kind in ("text", "class", "src") for text in sent[kind].values())


def test_a_range_in_the_past_is_exact(filled):
    """A fixed range is answered for exactly its ends, and is not live."""
    search = f"?from={NOW - 600_000}&to={NOW - 300_000}"
    leaves = overview(Bench(filled).desk, Ask(7, "/", search, "light", "Europe/Berlin"))
    ack = leaves["ack"]
    assert (ack["seq"], ack["live"], ack["preset"], ack["search"]) == (7, False, None, search)
    assert leaves["traffic.figure"].x_axis["range"] == ["2026-09-21 16:03:20.000", "2026-09-21 16:08:20.000"]
    assert ack["zone"] == "Europe/Berlin (UTC+2)"


def test_a_damaged_address_is_mentioned(filled):
    """The page shows the default range and says what could not be read."""
    leaves = overview(Bench(filled).desk, Ask(1, "/", "?from=%zz&to=77h", "light", "UTC"))
    assert leaves["overview-banner.className"] == "ns-banner is-info"
    assert leaves["ack"]["preset"] == "15m"


def test_an_unreachable_store_keeps_the_old_page_and_heals(filled):
    """The banner says so, panels and tiles are stale with their age, and the next good read clears it."""
    bench = Bench(filled)
    overview(bench.desk, LIVE)
    bench.engine.error = UnavailableError("the store cannot be opened")
    bench.now_ms += 60_000
    leaves = overview(bench.desk, LIVE)
    assert "The store does not answer: the store cannot be opened" in leaves["overview-banner.children"]
    assert leaves["traffic-note.children"] == "stale 1 m: the store cannot be opened"
    assert "is-stale" in leaves["traffic-panel.className"]
    assert leaves["tile-rate-sub.children"] == "stale 1 m"
    assert leaves["models.rowData"]
    assert leaves["first-run.className"] == "ns-first-run"
    bench.engine.error = None
    healed = overview(bench.desk, LIVE)
    assert healed["overview-banner.children"] == ""
    assert healed["traffic-panel.className"] == "ns-panel is-ok"


def test_a_store_that_never_answered_is_an_error_not_an_empty_page(filled):
    """Before the first good read panels say "error", and nobody is told to install anything."""
    bench = Bench(filled)
    bench.engine.error = UnavailableError("down")
    leaves = overview(bench.desk, LIVE)
    assert leaves["traffic-empty.children"] == "error"
    assert leaves["tile-rate-value.children"] == "error"
    assert leaves["models-empty.children"] == "error"
    assert leaves["first-run.className"] == "ns-first-run"


def test_the_first_run_page_leaves_when_data_arrives():
    """An empty store shows the three ways in; the first series switches the page."""
    world = World(Fleet(start_ms=NOW - 600_000))
    bench = Bench(world)
    assert overview(bench.desk, LIVE)["first-run.className"] == "ns-first-run is-shown"
    world.write_until(NOW)
    bench.now_ms += 5000
    leaves = overview(bench.desk, LIVE)
    assert leaves["first-run.className"] == "ns-first-run"
    assert leaves["overview-body.className"] == "ns-body"


def test_simulated_data_says_so():
    """Every tile, panel, row and page that shows simulated series carries the mark; others do not."""
    world = World(Fleet(models=("real",), instances=("a:1",), start_ms=NOW - 900_000))
    world.write_until(NOW)
    simulated = Fleet(
        models=("made-up",), instances=("b:1",), start_ms=NOW - 900_000, labels={"simulated": "true"}
    )
    world.store.write(simulated.batch(range(NOW - 900_000, NOW + 1, 5000)))
    bench = Bench(world, price_book=pricebook.built_in())
    leaves = overview(bench.desk, LIVE)
    assert leaves["overview-simulated.className"] == "ns-badge is-shown"
    assert {row["model"]: row["simulated"] for row in leaves["models.rowData"]} == {
        "real": False,
        "made-up": True,
    }
    for name in ("traffic-panel", "gpu-memory-panel", "tile-rate", "tile-p95", "tile-gpu", "models-panel"):
        assert "is-simulated" in leaves[f"{name}.className"]
    real = model_page(bench.desk, Ask(1, "/model/real", "", "dark", "UTC"))
    assert real["model-simulated.className"] == "ns-badge"
    assert not [
        name for name, value in real.items() if name.startswith("model-l") and "is-simulated" in str(value)
    ]
    made_up = model_page(bench.desk, Ask(1, "/model/made-up", "", "dark", "UTC"))
    assert made_up["model-simulated.className"] == "ns-badge is-shown"
    assert "is-simulated" in made_up["model-latency-panel.className"]


def test_alerts_and_objectives_are_counted():
    """The verdict strip counts firing, pending and every objective's state."""
    labels = (("alertname", "Burn"), ("model", "ranker"))
    firing = AlertView(
        "Burn", "g", AlertState.FIRING, labels, {}, 2.0, NOW - 60_000, NOW - 30_000, None, "f1"
    )
    fleet = FakeFleet(models=("ranker", "sentiment", "quiet"), idle=("quiet",))
    desk = Desk(
        engine=FakeEngine(fleet),
        figures=FakeFigures(fleet),
        alerts=FakeAlerts(alerts=[firing]),
        settings=PagesSettings(),
        now_ms=lambda: NOW,
    )
    leaves = overview(desk, LIVE)
    assert leaves["overview-firing-number.children"] == "1"
    assert leaves["overview-firing-count.className"] == "ns-count is-bad"
    assert leaves["overview-pending-count.className"] == "ns-count is-zero"
    counted = [
        int(leaves[f"overview-{word}-number.children"]) for word in ("breached", "at-risk", "ok", "unknown")
    ]
    assert sum(counted) == 6
    assert leaves["models.rowData"][0]["state_t"] == "firing"
    quiet = next(row for row in leaves["models.rowData"] if row["model"] == "quiet")
    assert (quiet["errors_t"], quiet["p95_t"]) == ("no traffic", "-")
    page = model_page(desk, Ask(1, "/model/quiet", "", "dark", "UTC"))
    assert page["model-latency-empty.children"] == "no traffic"
    assert page["tile-model-p95-value.children"] == "no traffic"


def test_broken_analytics_cost_one_tile_not_the_page():
    """A figure that cannot be made says so in its place."""
    fleet = FakeFleet()
    figures = FakeFigures(fleet, error=RuntimeError("price book is gone"))
    desk = Desk(
        engine=FakeEngine(fleet),
        figures=figures,
        alerts=FakeAlerts(),
        settings=PagesSettings(),
        now_ms=lambda: NOW,
    )
    leaves = overview(desk, LIVE)
    assert (leaves["tile-cost-value.children"], leaves["tile-cost-sub.children"]) == (
        "error",
        "price book is gone",
    )
    assert leaves["traffic-panel.className"] == "ns-panel is-ok"


def test_a_refresh_is_small_and_quick():
    """With 100 models a refresh of the prepared page stays under 300 kB, and our own share of it under 200 ms."""
    fleet = FakeFleet(models=tuple(f"model-{number:03d}" for number in range(100)))
    clock = [NOW]
    desk = Desk(
        engine=FakeEngine(fleet),
        figures=FakeFigures(fleet),
        alerts=FakeAlerts(),
        settings=PagesSettings(),
        now_ms=lambda: clock[0],
    )
    ask = Ask(1, "/", "?from=now-24h&to=now", "dark", "UTC")
    overview(desk, ask)
    took = []
    for _ in range(3):
        clock[0] += 60_000
        began = time.process_time()
        leaves = overview(desk, ask)
        took.append(time.process_time() - began)
    assert min(took) < 0.2
    sizes = [
        len(str(value.data)) if isinstance(value, FigureChange) else len(str(value))
        for value in leaves.values()
    ]
    assert sum(sizes) < 300_000


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/model/ranker", "ranker"),
        ("/model/a%2Fb%20c", "a/b c"),
        ("/", ""),
        ("/model/", ""),
        ("/models/x", ""),
    ],
)
def test_paths_name_models(path, model):
    """A model's name may hold anything; it is percent-encoded in the address."""
    assert model_of(path) == model


def test_what_a_browser_sends_is_not_trusted():
    """Fields of a wrong kind become harmless defaults."""
    odd = Ask.read(
        {
            "seq": "x",
            "path": 7,
            "search": ["a"],
            "theme": "neon",
            "zone": None,
            "hidden": {"a": "b", "c": ["d", 5]},
        }
    )
    assert odd == Ask(0, "", "", "light", "", frozenset({("c", "d")}))
    assert Ask.read(None) == Ask(0, "", "", "light", "")
    assert len(Ask.read({"hidden": {"c": [str(n) for n in range(1000)]}}).hidden) == 200
    store = MemoryStore()
    desk = Desk(
        engine=LocalEngine(store),
        figures=EngineFigures(LocalEngine(store), price_book=None, slas=()),
        alerts=FakeAlerts(),
        settings=PagesSettings(),
        now_ms=lambda: NOW,
    )
    assert overview(desk, odd)["ack"]["zone"] == "UTC"


def test_what_did_not_change_is_not_sent_again(filled):
    """A chart or table the browser shows already is left out; a new theme, range or sample sends it."""
    bench = Bench(filled)
    day = Ask(1, "/", "?from=now-24h&to=now", "light", "UTC")
    names = outputs_of("overview")
    have = packet(overview(bench.desk, day))["have"]
    bench.now_ms += 20_000
    again = overview(bench.desk, day)
    sent = news(names, again, replace(day, have=have))
    assert [name for name, value in zip(names, sent, strict=True) if value is not no_update] == []
    dark = replace(day, theme="dark", have=have)
    changed = news(names, overview(bench.desk, dark), dark)
    assert all(
        changed[names.index(f"{panel}.figure")] is not no_update for panel in ("traffic", "errors", "latency")
    )
    bench.now_ms += 600_000
    moved = news(names, overview(bench.desk, day), replace(day, have=have))
    assert moved[names.index("traffic.figure")] is not no_update
