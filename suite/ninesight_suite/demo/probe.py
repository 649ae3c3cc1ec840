"""What the demo asks the running suite, over its public HTTP API only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

__all__ = ["Probe"]

_LIVE = 'simulated!="true"'


@dataclass(frozen=True)
class Probe:
    """Asks the API at `api_url` and the pages at `pages_url`. Every method answers None where there is nothing yet."""

    api_url: str
    pages_url: str
    client: httpx2.Client

    def scalar(self, expression: str) -> float | None:
        """Return the first value of an instant query."""
        answer = self._get(f"{self.api_url}/api/v1/query", {"query": expression})
        result = (answer or {}).get("data", {}).get("result", ())
        return float(result[0]["value"][1]) if result and "value" in result[0] else None

    def request_rate(self) -> float | None:
        """Live requests per second over the last 30 s."""
        return self.scalar(f"sum(rate(model_requests_total{{{_LIVE}}}[30s]))")

    def p95_ms(self, model: str) -> float | None:
        """p95 of a model over the last 30 s, in milliseconds."""
        selector = f'model_request_duration_seconds{{model="{model}",{_LIVE}}}'
        value = self.scalar(f"histogram_quantile(0.95, sum(rate({selector}[30s])))")
        return None if value is None or value != value else value * 1000.0  # noqa: PLR0124 - NaN is not itself

    def accelerator_busy(self) -> float | None:
        """Accelerator-seconds per second over the last 10 s."""
        return self.scalar(f"sum(rate(model_accelerator_seconds_total{{{_LIVE}}}[10s]))")

    def alerts(self, state: str) -> list[dict[str, Any]]:
        """Return the alerts in a state (pending or firing)."""
        answer = self._get(f"{self.api_url}/api/v1/alerts", {})
        found = (answer or {}).get("data", {}).get("alerts", ())
        return [alert for alert in found if alert.get("state") == state]

    def page_ok(self) -> bool:
        """Say whether the Overview page is served."""
        try:
            answer = self.client.get(f"{self.pages_url}/")
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200 and "html" in answer.headers.get("content-type", "")

    def _get(self, url: str, form: dict[str, str]) -> dict[str, Any] | None:
        try:
            answer = self.client.get(url, params=form)
            if answer.status_code != 200:
                return None
            body: dict[str, Any] = answer.json()
            return body
        except (httpx2.HTTPError, ValueError):
            return None
