"""The Prometheus HTTP API: `routes(engine)` gives Starlette routes for Grafana, promtool and others."""

from ninesight_query.http.api import routes
from ninesight_query.http.cardinality import CardinalityCounter, Head
from ninesight_query.http.direct import Direct
from ninesight_query.http.guard import OPEN_PATHS, BearerGuard
from ninesight_query.http.handler import Answering, Asked
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.prompt_app import AskAtOnce, PromptApp, at_once_of
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.status import Runtime, ServerFacts

__all__ = [
    "OPEN_PATHS",
    "Answering",
    "AskAtOnce",
    "Asked",
    "BearerGuard",
    "CardinalityCounter",
    "Direct",
    "EnginePool",
    "Head",
    "HttpSettings",
    "PromptApp",
    "Runtime",
    "ServerFacts",
    "at_once_of",
    "routes",
]
