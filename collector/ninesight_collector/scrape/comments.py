"""The `# HELP`, `# TYPE` and `# UNIT` lines of a page as metadata."""

from __future__ import annotations

from ninesight_store.contract import Metadata

from ninesight_collector.scrape.series_key import unescape

__all__ = ["HELP_MAX", "Families"]

_KINDS = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "gaugehistogram": "histogram",
    "summary": "summary",
    "info": "info",
    "stateset": "gauge",
}
_SUFFIXES = {"counter": "_total", "info": "_info"}
HELP_MAX = 1024


class Families:
    """Gathers what a page says about its metric families."""

    def __init__(self, *, open_metrics: bool) -> None:
        self._open_metrics = open_metrics
        self._said: dict[str, dict[str, str]] = {}

    def add(self, line: str) -> None:
        """Take one comment line; any that is not HELP, TYPE or UNIT is a remark and left out."""
        words = line.split(None, 3)
        if len(words) < 3 or words[0] != "#" or words[1] not in ("HELP", "TYPE", "UNIT"):
            return
        name = unescape(words[2][1:-1]) if words[2].startswith('"') else words[2]
        text = words[3] if len(words) == 4 else ""
        self._said.setdefault(name, {})[words[1]] = text.strip()

    def metadata(self) -> list[Metadata]:
        """Return one entry per family, under the name its samples have."""
        entries = []
        for name, said in self._said.items():
            kind = _KINDS.get(said.get("TYPE", ""), "unknown")
            suffix = _SUFFIXES.get(kind, "") if self._open_metrics else ""
            metric = name if name.endswith(suffix) else name + suffix
            entries.append(
                Metadata(metric, kind, said.get("UNIT", ""), unescape(said.get("HELP", ""))[:HELP_MAX])
            )
        return entries
