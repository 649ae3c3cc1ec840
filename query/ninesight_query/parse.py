"""Query text to expression tree, `parse(text) -> Expr`, and back, `prettify`.

Promised: any text gives a tree or a ParseError that says what is wrong, where, and the way out. Nesting
and length are bounded. Results are cached by text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ninesight_store.contract import Matcher

from ninesight_query import ir
from ninesight_query.errors import ParseError
from ninesight_query.syntax import tree
from ninesight_query.syntax.expressions import read
from ninesight_query.syntax.lift import lifted
from ninesight_query.syntax.literals import is_utf8
from ninesight_query.syntax.lower import lowered
from ninesight_query.syntax.outline import outlined
from ninesight_query.syntax.pretty import laid_out
from ninesight_query.syntax.problems import excerpt, problem
from ninesight_query.syntax.show import show

__all__ = [
    "QUERY_LENGTH_MAX",
    "one_line",
    "parse",
    "parse_matchers",
    "parse_selector",
    "prettify",
    "syntax_tree",
    "tree_of",
]

QUERY_LENGTH_MAX = 65_536
"""Characters of one query."""
CACHED_QUERIES_MAX = 2_048


@lru_cache(maxsize=CACHED_QUERIES_MAX)
def parse(query: str) -> ir.Expr:
    """Return the tree of a query. Raises ParseError."""
    return _checked(query)[1]


@lru_cache(maxsize=CACHED_QUERIES_MAX)
def one_line(query: str) -> str:
    """Return a query as Prometheus prints it, on one line; what cannot be read stays as it is."""
    try:
        return show(syntax_tree(query))
    except (ParseError, RecursionError):
        return query


def prettify(query: str | ir.Expr) -> str:
    """Return a query laid out as Prometheus does: lines of at most 100 bytes, two spaces a level.

    Comments are lost, matchers are sorted. Raises ParseError.
    """
    return laid_out(_checked(query)[0] if isinstance(query, str) else lifted(query))


def tree_of(query: str) -> dict[str, Any]:
    """Return a query as nested dicts, ready for JSON, as Prometheus' /api/v1/parse_query. Raises ParseError."""
    return outlined(_checked(query)[0])


def _checked(query: str) -> tuple[tree.Node, ir.Expr]:
    try:
        node = syntax_tree(query)
        return node, lowered(query, node)
    except RecursionError:
        raise ParseError(
            f"a query must not nest so deep where so little stack is left; split it: {excerpt(query)}"
        ) from None


def syntax_tree(query: str) -> tree.Node:
    """Return a query as it was written, not yet checked for types. Raises ParseError."""
    if len(query) > QUERY_LENGTH_MAX:
        raise ParseError(
            f"a query may have at most {QUERY_LENGTH_MAX} characters, got {len(query)}: {excerpt(query)}"
        )
    if not is_utf8(query):
        odd = next(place for place, char in enumerate(query) if "\ud800" <= char <= "\udfff")
        raise problem(query, odd, "a query must be valid UTF-8, here is a lone surrogate", end=odd + 1)
    return read(query)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a plain selector such as `up{job="x"}` (for match[]). Raises ParseError."""
    expr = parse(text)
    plain = isinstance(expr, ir.Selector) and expr == ir.Selector(expr.matchers)
    if not plain:
        raise ParseError(f'a plain series selector is needed, like up{{job="x"}}, got: {excerpt(text)}')
    assert isinstance(expr, ir.Selector)
    return expr.matchers


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a plain selector that may match every series (for match_target). Raises ParseError."""
    node = syntax_tree(text)
    if isinstance(node, tree.Selector) and not node.name:
        modified = node.offset is not None or node.at is not None
        if not modified and node.extension is ir.Extension.NONE:
            return node.matchers
    return parse_selector(text)
