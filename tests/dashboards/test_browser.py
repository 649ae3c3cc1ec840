"""Both pages in Chromium, over a store that keeps receiving samples."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from ninesight_alerts.contract import AlertState, AlertView, DeliveryView
from ninesight_query.engine import LocalEngine
from ninesight_query.errors import UnavailableError

from .conftest import LiveServer, World, wait_for
from .fleet import Fleet

ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ANSWERED = "Number(document.documentElement.dataset.answered || -1)"


@pytest.fixture(scope="module")
def kept():
    """What is started once for all tests here, closed in reverse order."""
    with contextlib.ExitStack() as stack:
        found: dict[str, object] = {"stack": stack}
        yield found


@pytest.fixture
def chromium(real, kept):
    """One Chromium for all tests; each takes a fresh context."""
    path = real("chromium")
    if "browser" not in kept:
        from playwright.sync_api import sync_playwright

        playwright = kept["stack"].enter_context(sync_playwright())
        kept["browser"] = playwright.chromium.launch(executable_path=path, args=ARGS)
        kept["stack"].callback(kept["browser"].close)
    return kept["browser"]


@pytest.fixture
def server(kept):
    """One page server over twenty minutes of two models, which keep reporting."""
    if "server" not in kept:
        now_ms = time.time_ns() // 1_000_000 // 5000 * 5000
        world = World(Fleet(start_ms=now_ms - 1_200_000))
        world.write_until(now_ms)
        kept["server"] = kept["stack"].enter_context(LiveServer(world))
    return kept["server"]


class Tab:
    """A page that records what must not happen: console errors, failed and foreign requests."""

    def __init__(self, browser, server, *, theme="light", width=1400, height=900, zone="UTC"):
        self.url = server.url
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, timezone_id=zone
        )
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("request", self._request)

    def open(self, path="/"):
        self.page.goto(self.url + path)
        self.page.wait_for_function(f"{ANSWERED} >= 0")
        self.page.wait_for_function(
            "[...document.querySelectorAll('.ns-graph')].every(graph => graph.querySelector('.main-svg .nsewdrag'))"
        )
        return self

    def refreshed(self, times=1):
        """Wait until so many more answers were painted."""
        seen = self.page.evaluate(ANSWERED)
        self.page.wait_for_function(f"{ANSWERED} >= {seen + times}")

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def axis(self, chart):
        """The span a chart shows, in wall-clock milliseconds."""
        return self.page.evaluate(
            "id => document.querySelector('#' + id + ' .js-plotly-plot')._fullLayout.xaxis.range"
            ".map(end => typeof end === 'number' ? end : Date.parse(end.replace(' ', 'T') + 'Z'))",
            chart,
        )

    def drag(self, chart, start=0.3, end=0.6):
        """Drag over part of a chart."""
        box = self.page.locator(f"#{chart} .nsewdrag").first.bounding_box()
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] * start, y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * end, y, steps=6)
        self.page.mouse.up()

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text[:300]}")

    def _request(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"foreign: {request.url}")


@pytest.fixture
def tab_of(chromium):
    """`tab_of(server)` gives a fresh tab, closed afterwards so that it asks no more."""
    with contextlib.ExitStack() as stack:

        def make(server, **more):
            tab = Tab(chromium, server, **more)
            stack.callback(tab.context.close)
            return tab

        yield make


def alerting(world):
    """One firing alert of the first model, delivered."""
    now_ms = time.time_ns() // 1_000_000
    labels = (("alertname", "LatencyBudgetBurn"), ("model", "ranker"), ("severity", "page"))
    world.alerts.alerts = [
        AlertView("LatencyBudgetBurn", "g", AlertState.FIRING, labels, {"summary": "p95 over target"}, 14.0,
                  now_ms - 90_000, now_ms - 30_000, None, "f1")
    ]  # fmt: skip
    world.alerts.past = list(world.alerts.alerts)
    world.alerts.attempts = [
        DeliveryView("n1", "hook", "firing", 1, now_ms - 29_000, "delivered", "HTTP 200", "LatencyBudgetBurn")
    ]


def test_both_pages_live(tab_of, server):
    """The Overview lives, a click opens the model, Back returns, and nothing goes wrong on the way."""
    alerting(server.world)
    tab = tab_of(server).open()
    assert tab.text("h1") == "Overview"
    assert re.fullmatch(r"[\d.]+k? /s", tab.text("#tile-rate-value"))
    assert tab.page.locator("#models .ag-row").count() == 2
    assert tab.text("#overview-firing-count").split() == ["⬢", "1", "firing"]
    assert "delivered" in tab.text("#alerts .ag-row")
    rows = tab.page.locator("#models .ag-row").evaluate_all(
        "rows => rows.map(row => row.getAttribute('row-id'))"
    )
    assert rows[0] == "ranker"
    before = tab.axis("traffic")
    tab.refreshed(2)
    wait_for(lambda: tab.axis("traffic")[1] > before[1], what="the axis moving on")
    tab.page.locator("#models .ag-row", has_text="ranker").locator(".ag-cell").nth(2).click()
    tab.page.wait_for_selector("#model-name:has-text('ranker')")
    assert tab.page.url == server.url + "/model/ranker"
    tab.refreshed(1)
    assert re.search(r"\d (µs|ms|s)$", tab.text("#tile-model-p95-value"))
    assert tab.page.locator("#model-latency-legend button").all_inner_texts()[0].startswith("p50")
    assert tab.page.locator("#instances .ag-row").count() == 2
    assert tab.page.title() == "ranker · ninesight"
    tab.page.go_back()
    tab.page.wait_for_function("document.documentElement.dataset.page === 'overview'")
    assert tab.page.locator("#models .ag-row").first.is_visible()
    tab.refreshed(1)
    assert tab.wrong == []


def test_zoom_survives_refreshes_and_back_undoes_it(tab_of, server):
    """A drag writes the range into the address, every chart shows it, and three refreshes keep it."""
    tab = tab_of(server, zone="Europe/Berlin").open("/model/ranker")
    live = tab.axis("model-latency")
    tab.drag("model-latency")
    tab.page.wait_for_url(re.compile(r"\?from=\d+&to=\d+"))
    tab.refreshed(1)
    zoomed = tab.axis("model-latency")
    span = live[1] - live[0]
    assert zoomed[1] - zoomed[0] == pytest.approx(0.3 * span, rel=0.1)
    assert zoomed[0] == pytest.approx(live[0] + 0.3 * span, abs=0.05 * span)
    tab.refreshed(3)
    assert tab.axis("model-latency") == zoomed
    assert tab.axis("model-stages") == zoomed
    asked = dict(re.findall(r"(from|to)=(\d+)", tab.page.url))
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    assert zoomed[0] - int(asked["from"]) == now.utcoffset().total_seconds() * 1000
    assert int(asked["from"]) == pytest.approx(now.timestamp() * 1000 - 0.7 * span, abs=0.1 * span)
    assert tab.text("#ns-status").startswith("fixed range")
    tab.page.go_back()
    tab.page.wait_for_function("document.documentElement.dataset.live === 'true'")
    wait_for(lambda: tab.axis("model-latency")[1] >= live[1], what="the live range coming back")
    assert "from" not in tab.page.url
    assert tab.wrong == []


def test_legend_choice_and_sorting_survive_refreshes(tab_of, server):
    """A line switched off stays off, and a table keeps the reader's order."""
    tab = tab_of(server).open()
    entry = tab.page.locator("#traffic-legend button", has_text="sentiment")
    entry.click(modifiers=["Control"])
    tab.page.locator("#models .ag-header-cell", has_text="req/s").click()
    order = tab.page.locator("#models .ag-row").evaluate_all(
        "rows => rows.sort((a, b) => a.rowIndex - b.rowIndex).map(row => row.getAttribute('row-id'))"
    )
    tab.refreshed(2)
    assert entry.get_attribute("aria-pressed") == "false"
    shown = tab.page.evaluate(
        "document.querySelector('#traffic .js-plotly-plot')._fullData.map(trace => [trace.name, trace.visible])"
    )
    assert dict(shown) == {"ranker": True, "sentiment": "legendonly"}
    assert set(order) == {"ranker", "sentiment"}
    assert tab.page.locator("#models .ag-header-cell[aria-sort=descending]").count() == 1
    assert tab.wrong == []


def test_themes_switch_without_a_reload(tab_of, server):
    """Dark follows the browser, a click switches to light, and the choice outlives the tab."""
    tab = tab_of(server, theme="dark").open()
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "dark"
    body = "getComputedStyle(document.body).backgroundColor"
    dark = tab.page.evaluate(body)
    line = "document.querySelector('#traffic .js-plotly-plot').data[0].line.color"
    colour = tab.page.evaluate(line)
    tab.page.evaluate("window.sameDocument = true")
    tab.page.get_by_role("button", name="light").click()
    tab.page.wait_for_function(f"{line} !== '{colour}'")
    assert tab.page.evaluate(body) != dark
    assert tab.page.evaluate("window.sameDocument")
    again = tab.context.new_page()
    again.goto(server.url)
    assert again.evaluate("document.documentElement.dataset.theme") == "light"
    assert tab.wrong == []


def test_a_damaged_address_falls_back(tab_of, server):
    """The page shows the default range and says so; it is never an error page."""
    tab = tab_of(server).open("/?from=%22%3E%3Cscript%3E&to=1e99&theme=neon")
    assert "could not be read in full" in tab.text("#overview-banner")
    assert tab.page.locator("[data-preset='15m'][aria-current=true]").count() == 1
    tab.page.get_by_role("link", name="1h", exact=True).click()
    tab.page.wait_for_url(re.compile(r"from=now-1h"))
    tab.page.wait_for_function("!document.querySelector('#overview-banner').textContent")
    assert tab.wrong == []


def test_a_first_run_page_switches_when_data_arrives(tab_of):
    """An empty store teaches three ways in; the first sample brings the Overview without a reload."""
    now_ms = time.time_ns() // 1_000_000 // 5000 * 5000
    world = World(Fleet(start_ms=now_ms + 86_400_000))
    with LiveServer(world) as server:
        tab = tab_of(server).open()
        assert "ninesight.configure" in tab.text("#first-run")
        assert not tab.page.locator("#overview-body").is_visible()
        world.fleet.start_ms = now_ms - 300_000
        tab.page.wait_for_selector("#overview-body", state="visible")
        assert not tab.page.locator("#first-run").is_visible()
        wait_for(lambda: tab.page.locator("#models .ag-row").count() == 2, what="the model rows")
        assert tab.wrong == []


class Breakable:
    """An engine that fails while `error` is set."""

    def __init__(self, engine):
        self.engine = engine
        self.error = None

    def __getattr__(self, name):
        if name in ("instant", "range", "series") and self.error is not None:
            raise self.error
        return getattr(self.engine, name)


def test_an_unreachable_store_is_a_banner_that_heals(tab_of, world):
    """Old data stays on the page, marked; when the store is back the marks leave by themselves."""
    engine = Breakable(LocalEngine(world.store))
    with LiveServer(world, engine=engine) as server:
        tab = tab_of(server).open()
        engine.error = UnavailableError("the store cannot be opened")
        tab.page.wait_for_function(
            "document.querySelector('#overview-banner').textContent.includes('cannot be opened')"
        )
        tab.page.wait_for_selector("#traffic-panel.is-stale")
        assert tab.page.evaluate("document.querySelector('#traffic .js-plotly-plot').data.length") == 2
        engine.error = None
        tab.page.wait_for_function("!document.querySelector('#overview-banner').textContent")
        tab.page.wait_for_selector("#traffic-panel.is-ok")
        assert tab.wrong == []


def test_pages_fit_and_are_named(tab_of, server):
    """No sideways scroll at three widths; one h1, landmarks, named controls, a skip link that gets focus first."""
    for path in ("/", "/model/ranker"):
        tab = tab_of(server, width=1920, height=1080).open(path)
        page = tab.page
        if path == "/":
            assert page.evaluate("document.documentElement.scrollHeight") <= 1080
        for width in (1920, 1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            wait_for(
                lambda page=page, width=width: page.evaluate("document.documentElement.scrollWidth") <= width,
                what=f"{path} fitting {width} pixels",
            )
        assert len([heading for heading in page.locator("h1").all() if heading.is_visible()]) == 1
        assert page.locator("main").count() == page.locator(".ns-header").count() == 1
        nameless = page.evaluate(
            "[...document.querySelectorAll('button, a[href]')]"
            ".filter(node => !(node.getAttribute('aria-label') || node.textContent).trim()).length"
        )
        assert nameless == 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "ns-skip"
        assert tab.wrong == []
