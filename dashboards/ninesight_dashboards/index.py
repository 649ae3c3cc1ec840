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

_THEME = """
(function () {
  var choice = new URLSearchParams(location.search).get("theme");
  try { choice = choice || localStorage.getItem("ninesight-theme"); } catch (e) { /* storage may be off */ }
  if (["auto", "light", "dark"].indexOf(choice) < 0) { choice = %s; }
  var dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  var root = document.documentElement;
  root.dataset.themeChoice = choice;
  root.dataset.theme = dark ? "dark" : "light";
  root.dataset.agThemeMode = root.dataset.theme;
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  document.cookie = "ninesight_view=" + encodeURIComponent(root.dataset.theme + "|" + zone) + ";path=/;SameSite=Strict";
  root.dataset.page = location.pathname.indexOf("/model/") === 0 ? "model" : "overview";
})();
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>TITLE</title>
<link rel="icon" href="ICON">
<script>THEME</script>
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
    return page.replace("THEME", _THEME % json.dumps(settings.theme))
