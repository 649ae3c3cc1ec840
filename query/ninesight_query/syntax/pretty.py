"""Syntax tree to text over several lines, as Prometheus lays queries out (/api/v1/format_query).

What fits into LINE_BYTES_MAX stays on one line; else its parts go one level deeper, two spaces each.
"""

from __future__ import annotations

from ninesight_query.syntax import tree
from ninesight_query.syntax.show import aggregation_head, operator_text, show, subquery_tail

__all__ = ["LINE_BYTES_MAX", "laid_out"]

LINE_BYTES_MAX = 100
_INDENT = "  "
_LEVELS_MAX = 100
"""Deeper levels are indented no further: a chain of operators would grow with the square of its length."""


def laid_out(node: tree.Node) -> str:
    """Return the text of a query."""
    return _Layout().lines(node, 0)


class _Layout:
    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}

    def fits(self, node: tree.Node) -> bool:
        """Say whether a node may stay on one line; its own indentation does not count."""
        return self._width(node) <= LINE_BYTES_MAX

    def _width(self, node: tree.Node) -> int:
        """Return the length as one line, without making the line for every level of a chain."""
        spine: list[tree.Binary] = []
        while isinstance(node, tree.Binary) and id(node) not in self._bytes:
            spine.append(node)
            node = node.left
        width = self._bytes.get(id(node)) or len(show(node).encode("utf-8", "replace"))
        for each in reversed(spine):
            width += len(operator_text(each)) + len(show(each.right).encode("utf-8", "replace")) + 2
            self._bytes[id(each)] = width
        return width

    def lines(self, node: tree.Node, level: int) -> str:
        indent = _indent(level)
        match node:
            case tree.Subquery() if not self.fits(node):
                return self.lines(node.expr, level) + subquery_tail(node)
            case tree.Unary():
                return indent + node.op + self.lines(node.expr, level).strip()
            case tree.Selector() | tree.Range() | tree.Number() | tree.String():
                return indent + show(node)
            case _ if self.fits(node):
                return indent + show(node)
            case tree.Binary():
                return self._chain(node, level)
            case tree.Paren():
                return f"{indent}(\n{self.lines(node.expr, level + 1)}\n{indent})"
            case tree.Aggregate():
                return f"{indent}{aggregation_head(node)}({self._args(node.args, level)}\n{indent})"
            case tree.Call():
                return f"{indent}{node.name}({self._args(node.args, level)}\n{indent})"
        return indent + show(node)

    def _args(self, args: tuple[tree.Node, ...], level: int) -> str:
        return "\n" + ",\n".join(self.lines(arg, level + 1) for arg in args) if args else ""

    def _chain(self, node: tree.Binary, level: int) -> str:
        """Lay a chain of operators out: each left operand one level deeper than its operator."""
        spine = [node]
        while isinstance(inner := spine[-1].left, tree.Binary) and not self.fits(inner):
            spine.append(inner)
        deepest = level + len(spine) - 1
        parts = [self.lines(spine[-1].left, deepest + 1)]
        for depth, each in zip(range(deepest, level - 1, -1), reversed(spine), strict=True):
            parts += [_indent(depth) + operator_text(each), self.lines(each.right, depth + 1)]
        return "\n".join(parts)


def _indent(level: int) -> str:
    return _INDENT * min(level, _LEVELS_MAX)
