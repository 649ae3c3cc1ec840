"""Any Prometheus-compatible server as an `Engine`."""

from ninesight_query.remote.engine import RemoteEngine
from ninesight_query.remote.settings import RemoteSettings

__all__ = ["RemoteEngine", "RemoteSettings"]
