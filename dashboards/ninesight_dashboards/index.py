"""The HTML around the pages: title, icon, and the theme set before anything is painted."""

from __future__ import annotations

import html
import json

from ninesight_dashboards.contract import PagesSettings

__all__ = ["index_html"]

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='3' fill='%234477AA'/%3E"
    "%3Cpath d='M3 11l3-4 3 2 4-6' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E"
)

_START = """
(function () {
  var kept = (document.cookie.match(/(?:^|; )ninesight_theme=(\\w+)/) || [])[1];
  var choice = new URLSearchParams(location.search).get("theme") || kept;
  if (["auto", "light", "dark"].indexOf(choice) < 0) { choice = CHOICE; }
  var dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  var root = document.documentElement;
  root.dataset.themeChoice = choice;
  root.dataset.theme = dark ? "dark" : "light";
  root.dataset.agThemeMode = root.dataset.theme;
  root.dataset.page = location.pathname.indexOf("/model/") === 0 ? "model" : "overview";
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  document.cookie = "ninesight_view=" + encodeURIComponent(root.dataset.theme + "|" + zone) + ";path=/;SameSite=Strict";
  // Only now, so that the data is asked for with this theme and zone, and arrives while scripts load.
  EARLY.forEach(function (wanted) {
    var link = document.createElement("link");
    link.rel = "preload";
    link.href = wanted[0];
    link.as = wanted[1];
    if (wanted[1] === "fetch") { link.crossOrigin = "anonymous"; }
    document.head.appendChild(link);
  });
})();
"""

_EARLY = (
    ("/_dash-layout", "fetch"),
    ("/_dash-dependencies", "fetch"),
    ("/_dash-component-suites/plotly/package_data/plotly.min.js", "script"),
    ("/_dash-component-suites/dash/dcc/async-graph.js", "script"),
    ("/_dash-component-suites/dash_ag_grid/async-community.js", "script"),
)
"""What the page asks for only after its first scripts ran; asked for at once it is there by then."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>TITLE</title>
<link rel="icon" href="ICON">
<script>START</script>
{%css%}
</head>
<body>
{%app_entry%}
<footer class="ns-hidden">{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def index_html(settings: PagesSettings) -> str:
    """Return the template that the page server fills."""
    page = _PAGE.replace("TITLE", html.escape(settings.title)).replace("ICON", _ICON)
    start = _START.replace("CHOICE", json.dumps(settings.theme)).replace("EARLY", json.dumps(_EARLY))
    return page.replace("START", start)
