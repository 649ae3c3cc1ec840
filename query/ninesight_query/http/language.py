"""`/api/v1/format_query` and `/api/v1/parse_query`: a query as text and as a tree, without asking the engine."""

from __future__ import annotations

import orjson

from ninesight_query.encode import encode_success
from ninesight_query.http.handler import Asked
from ninesight_query.parse import prettify, tree_of

__all__ = ["format_query", "parse_query"]


def format_query(asked: Asked) -> bytes:
    """Lay a query out over lines of at most 100 bytes."""
    return encode_success(orjson.dumps(prettify(asked.params.required("query"))))


def parse_query(asked: Asked) -> bytes:
    """Return the syntax tree of a query."""
    return encode_success(orjson.dumps(tree_of(asked.params.required("query"))))
