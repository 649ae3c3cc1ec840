"""The Prometheus HTTP API: `routes(engine)` gives Starlette routes for Grafana, promtool and others."""

from ninesight_query.http.api import routes
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.settings import HttpSettings

__all__ = ["EnginePool", "HttpSettings", "routes"]
