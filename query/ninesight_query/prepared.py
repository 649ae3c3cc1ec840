"""What is known of a query before its times are: worked out once a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ninesight_query import ir
from ninesight_query.at_once import is_light
from ninesight_query.narrow import Narrow, narrow_calls
from ninesight_query.parse import CACHED_QUERIES_MAX, parse
from ninesight_query.syntax.computed import waits

__all__ = ["Prepared", "prepared"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query's tree with what follows from it alone."""

    expr: ir.Expr
    computed: bool
    """Whether durations have to be worked out (`resolve`)."""
    planned: bool
    """Whether reading has to be planned: a selector stands in it twice, or below a subquery."""
    light: bool
    """Whether it may be tried at once."""
    narrow: Mapping[int, Narrow]
    """By `id`, the calls that share their work; none where durations have to be worked out."""

    @staticmethod
    def of(expr: ir.Expr) -> Prepared:
        """Look at a tree."""
        nodes = list(ir.walk(expr))
        read = [node.matchers for node in nodes if isinstance(node, ir.Selector)]
        twice = len(set(read)) < len(read)
        below = any(isinstance(node, ir.Subquery) for node in nodes)
        computed = any(map(waits, nodes))
        narrow = {} if computed or len(read) < 2 else narrow_calls(expr)
        return Prepared(expr, computed, twice or below, is_light(expr, nodes), narrow)


@lru_cache(maxsize=CACHED_QUERIES_MAX)
def prepared(query: str) -> Prepared:
    """Read a query and look at it. Raises ParseError."""
    return Prepared.of(parse(query))
