/* The browser's side: the address, the scheduler (never two polls at once), the theme, zoom into the URL.
   Data reaches the page only through Dash; this file asks for it and shows how fresh it is. */
(function () {
  "use strict";
  const root = document.documentElement;
  const state = {
    seq: 0, waiting: null, paused: false, refreshMs: 5000, lastOk: 0, failures: 0, nextAt: 0, clock: "",
    offsets: {}, live: true,
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
    const now = Date.now();
    state.seq += 1;
    state.waiting = { seq: state.seq, since: now, page: page() };
    const data = {
      seq: state.seq, path: location.pathname, search: location.search, theme: root.dataset.theme,
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
    };
    window.dash_clientside.set_props(page() + "-ask", { data: data });
    showStatus();
  }

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

  function answered(data) {
    if (!data || !state.waiting || data.seq !== state.waiting.seq) { return; }
    state.waiting = null;
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
    try { localStorage.setItem("ninesight-theme", choice); } catch (error) { /* storage may be off */ }
    const given = new URLSearchParams(location.search);
    if (given.has("theme")) {
      given.delete("theme");
      history.replaceState({}, "", location.pathname + (String(given) ? "?" + given : ""));
    }
    paint();
  }

  function paint() {
    const choice = root.dataset.themeChoice;
    const dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    const theme = dark ? "dark" : "light";
    root.dataset.agThemeMode = theme;
    root.setAttribute("data-mantine-color-scheme", theme);
    window.dash_clientside.set_props("mantine", { forceColorScheme: theme });
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
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    $("ns-refresh").addEventListener("click", ask);
    $("ns-pause").addEventListener("click", pause);
    title();
    window.dash_clientside.set_props("theme-choice", { value: root.dataset.themeChoice });
    window.dash_clientside.set_props("mantine", { forceColorScheme: root.dataset.theme });
    ask();
    window.setInterval(tick, 500);
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    ninesight: {
      boot: boot,
      done: (overview, model) => answered(page() === "model" ? model : overview),
      zoomed: zoomed,
      themed: themed,
    },
  });
})();
