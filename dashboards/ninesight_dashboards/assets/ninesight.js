/* The browser's side: the address, the scheduler (never two polls at once), the theme, zoom into the URL.
   Data reaches the page only through Dash; this file asks for it and shows how fresh it is. */
(function () {
  "use strict";
  const root = document.documentElement;
  const state = {
    seq: 0, waiting: null, paused: false, refreshMs: 5000, lastOk: 0, failures: 0, nextAt: 0, clock: "",
    offsets: [], live: true, hidden: {}, mounted: {}, have: {},
  };
  const LATE_MS = 15000;
  const BACKOFF_MS_MAX = 60000;
  const $ = (id) => document.getElementById(id);
  const page = () => (location.pathname.startsWith("/model/") ? "model" : "overview");

  function setText(id, text) {
    const node = $(id);
    if (node && node.textContent !== text) { node.textContent = text; }
  }

  /* ---- asking ---- */

  function ask() {
    const here = page();
    state.seq += 1;
    state.waiting = { seq: state.seq, since: Date.now() };
    const data = {
      seq: state.seq, path: location.pathname, search: location.search, theme: root.dataset.theme, zone: zone(),
      hidden: state.hidden, have: state.have[here],
    };
    window.dash_clientside.set_props(here + (state.mounted[here] ? "-ask" : "-mount"), { data: data });
    showStatus();
  }

  const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

  function tick() {
    const now = Date.now();
    if (state.waiting && now - state.waiting.since > Math.max(LATE_MS, 2 * state.refreshMs)) {
      state.waiting = null;
      state.failures += 1;
      state.nextAt = now + Math.min(BACKOFF_MS_MAX, state.refreshMs * 2 ** Math.min(6, state.failures - 1));
    }
    if (!state.waiting && !state.paused && !document.hidden && now >= state.nextAt) { ask(); }
    showStatus();
  }

  function painted(overview, model) {
    state.have = { overview: (overview || {}).have, model: (model || {}).have };
    const packet = page() === "model" ? model : overview;
    if (!packet || !packet.ack || packet === state.packet) { return; }
    const data = packet.ack;
    if (data.seq !== (state.waiting ? state.waiting.seq : state.seq)) { return; }
    state.packet = packet;
    state.waiting = null;
    state.mounted[page()] = true;
    paint(packet);
    if (data.error) { state.failures += 1; } else { state.failures = 0; state.lastOk = Date.now(); }
    state.refreshMs = data.refresh_ms || state.refreshMs;
    state.nextAt = Date.now() + state.refreshMs * (0.97 + 0.06 * Math.random());
    if (data.error) { return; }
    state.clock = data.clock;
    state.live = data.live;
    state.offsets = data.offsets;
    root.dataset.live = String(data.live);
    root.classList.remove("ns-loading");
    root.dataset.answered = String(data.seq);
    setText("ns-range", data.shown);
    setText("ns-zone", data.zone);
    document.querySelectorAll("[data-preset]").forEach((link) => {
      if (link.dataset.preset === data.preset) { link.setAttribute("aria-current", "true"); } else { link.removeAttribute("aria-current"); }
    });
    showStatus();
  }

  /* Leaves outside charts and tables. The page's structure never changes, so a node once found stays. */
  function paint(packet) {
    const each = (values, apply) => Object.keys(values || {}).forEach((id) => {
      const node = $(id);
      if (node) { apply(node, values[id]); }
    });
    each(packet.text, (node, text) => { if (node.textContent !== text) { node.textContent = text; } });
    each(packet.class, (node, name) => { if (node.className !== name) { node.className = name; } });
    each(packet.src, (node, src) => { if (node.getAttribute("src") !== src) { node.setAttribute("src", src); } });
    each(packet.legend, legend);
  }

  /* ---- legends: buttons, so that they are read out, focused and never cover a chart ---- */

  function legend(node, lines) {
    const chart = node.dataset.chart;
    const same = node.childElementCount === lines.length && lines.every((line, place) => node.children[place].dataset.key === line[1]);
    if (!same) { node.replaceChildren(...lines.map((line) => entry(chart, line))); }
    lines.forEach((line, place) => {
      const button = node.children[place];
      button.style.setProperty("--line", line[2]);
      button.dataset.dash = line[3];
      button.lastChild.textContent = line[4];
      button.setAttribute("aria-pressed", String(!isHidden(chart, line[1])));
    });
  }

  function entry(chart, line) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "ns-entry";
    button.dataset.key = line[1];
    button.title = line[0] + ": click to see it alone, Ctrl-click to switch it off or on";
    const name = document.createElement("span");
    name.textContent = line[0];
    const last = document.createElement("span");
    last.className = "ns-last";
    button.append(name, last);
    button.addEventListener("click", (event) => choose(chart, line[1], event.ctrlKey || event.metaKey || event.shiftKey));
    return button;
  }

  const isHidden = (chart, key) => (state.hidden[chart] || []).indexOf(key) >= 0;

  function choose(chart, key, toggle) {
    const buttons = Array.from($(chart + "-legend").children);
    const keys = buttons.map((button) => button.dataset.key);
    const hidden = state.hidden[chart] || [];
    if (toggle) {
      state.hidden[chart] = isHidden(chart, key) ? hidden.filter((other) => other !== key) : hidden.concat(key);
    } else {
      const alone = keys.every((other) => (other === key) !== isHidden(chart, other));
      state.hidden[chart] = alone ? [] : keys.filter((other) => other !== key);
    }
    if (keys.every((other) => isHidden(chart, other))) { state.hidden[chart] = []; }
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(!isHidden(chart, button.dataset.key))));
    const drawn = $(chart).querySelector(".js-plotly-plot");
    if (drawn && window.Plotly) {
      window.Plotly.restyle(drawn, { visible: drawn.data.map((trace) => (isHidden(chart, trace.uid) ? "legendonly" : true)) });
    }
  }

  /* ---- how fresh ---- */

  function ago(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    return seconds < 60 ? seconds + " s" : Math.floor(seconds / 60) + " m " + (seconds % 60) + " s";
  }

  function showStatus() {
    const node = $("ns-status");
    if (!node) { return; }
    const age = Date.now() - state.lastOk;
    const offline = state.failures > 0 && age > 2 * state.refreshMs;
    let word = "live", kind = "ok";
    if (!state.lastOk) { word = "connecting"; kind = "wait"; }
    else if (state.paused) { word = "paused, " + ago(age) + " old"; kind = "paused"; }
    else if (offline) { word = "failing, " + ago(age) + " old"; kind = "bad"; }
    else if (age > 3 * state.refreshMs) { word = "late, " + ago(age) + " old"; kind = "late"; }
    else { word = (state.live ? "live" : "fixed range") + ", " + state.clock; }
    const classes = "ns-status is-" + kind;
    if (node.className !== classes) { node.className = classes; }
    setText("ns-status", word);
    const banner = $("ns-offline");
    if (banner) {
      const text = offline ? "The pages do not answer. Showing what was read at " + state.clock + "; trying again." : "";
      setText("ns-offline", text);
      banner.className = "ns-banner " + (offline ? "is-bad" : "is-none");
    }
  }

  /* ---- the address ---- */

  function go(href, replace) {
    const target = new URL(href, location.href);
    const moved = target.pathname !== location.pathname;
    history[replace ? "replaceState" : "pushState"]({}, "", target);
    arrive(moved);
  }

  function arrive(moved) {
    root.dataset.page = page();
    if (moved) { root.classList.add("ns-loading"); window.scrollTo(0, 0); window.dispatchEvent(new Event("resize")); }
    title();
    ask();
  }

  function title() {
    const base = document.title.split(" · ").pop();
    const name = page() === "model" ? decodeURIComponent(location.pathname.slice(7)) : "Overview";
    document.title = name + " · " + base;
  }

  function withTheme(search) {
    const given = new URLSearchParams(search);
    const theme = new URLSearchParams(location.search).get("theme");
    if (theme && !given.has("theme")) { given.set("theme", theme); }
    const text = given.toString();
    return text ? "?" + text : "";
  }

  function clicked(event) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) { return; }
    const link = event.target.closest("a[href]");
    const row = event.target.closest("#models .ag-row");
    const chosen = link || (row && !String(window.getSelection()) && row.querySelector("a[href]"));
    if (!chosen || !(chosen.dataset.nav || chosen.dataset.preset)) { return; }
    event.preventDefault();
    const target = new URL(chosen.getAttribute("href"), location.href);
    const search = chosen.dataset.nav ? location.search : target.search;
    go((chosen.dataset.preset ? location.pathname : target.pathname) + withTheme(search));
  }

  /* ---- zoom: the chart says wall-clock time, the address says UTC milliseconds ---- */

  function toUtc(wall) {
    const parts = state.offsets || [];
    for (let place = parts.length - 1; place >= 0; place -= 1) {
      const utc = wall - parts[place][1];
      if (utc >= parts[place][0] || place === 0) { return Math.round(utc); }
    }
    return Math.round(wall);
  }

  const wallOf = (text) => (typeof text === "number" ? text : Date.parse(String(text).replace(" ", "T") + "Z"));

  function zoomed() {
    const triggered = window.dash_clientside.callback_context.triggered || [];
    for (const change of triggered) {
      const value = change.value;
      if (!value || value["xaxis.range[0]"] === undefined) { continue; }
      const from = toUtc(wallOf(value["xaxis.range[0]"]));
      const to = toUtc(wallOf(value["xaxis.range[1]"]));
      if (!(to > from)) { continue; }
      const middle = (from + to) / 2;
      const half = Math.max(15000, (to - from) / 2);
      go(location.pathname + withTheme("?from=" + Math.round(middle - half) + "&to=" + Math.round(middle + half)));
      return;
    }
  }

  /* ---- theme ---- */

  function themed(choice) {
    root.dataset.themeChoice = choice;
    document.cookie = "ninesight_theme=" + choice + ";path=/;SameSite=Strict;max-age=31536000";
    const given = new URLSearchParams(location.search);
    if (given.has("theme")) {
      given.delete("theme");
      history.replaceState({}, "", location.pathname + (String(given) ? "?" + given : ""));
    }
    retheme();
  }

  function retheme() {
    const choice = root.dataset.themeChoice;
    const dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    const theme = dark ? "dark" : "light";
    root.dataset.agThemeMode = theme;
    document.cookie = "ninesight_view=" + encodeURIComponent(theme + "|" + zone()) + ";path=/;SameSite=Strict";
    document.querySelectorAll("[data-choice]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    });
    if (root.dataset.theme !== theme) { root.dataset.theme = theme; ask(); }
  }

  /* ---- start ---- */

  function pause() {
    state.paused = !state.paused;
    setText("ns-pause", state.paused ? "Resume" : "Pause");
    $("ns-pause").setAttribute("aria-pressed", String(state.paused));
    if (!state.paused) { state.nextAt = 0; tick(); }
    showStatus();
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { return; }
    if (event.key === "r") { ask(); }
    else if (event.key === "p") { pause(); }
    else if (event.key === "0") { go(location.pathname + withTheme("")); }
  }

  function boot(data) {
    if (state.booted) { return; }
    state.booted = true;
    if (data && data.refresh_s) { state.refreshMs = data.refresh_s * 1000; }
    document.addEventListener("click", clicked);
    document.addEventListener("keydown", pressed);
    document.addEventListener("visibilitychange", tick);
    window.addEventListener("popstate", () => arrive(true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", retheme);
    document.querySelectorAll("[data-choice]").forEach((button) => button.addEventListener("click", () => themed(button.dataset.choice)));
    $("ns-refresh").addEventListener("click", ask);
    $("ns-pause").addEventListener("click", pause);
    title();
    retheme();
    ["overview", "model"].forEach((name) => { state.mounted[name] = $(name + "-slot").childElementCount > 0; });
    if ($(page() + "-slot").dataset.filled) { state.nextAt = Date.now() + state.refreshMs; }
    else { root.classList.add("ns-loading"); ask(); }
    window.setInterval(tick, 500);
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    ninesight: {
      boot: boot,
      painted: painted,
      zoomed: zoomed,
    },
  });
})();
