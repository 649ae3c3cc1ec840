"""What is wrong with a query, where, and the way out: the one place that words a ParseError of the syntax."""

from __future__ import annotations

from ninesight_query.errors import ParseError
from ninesight_query.ir import Position

__all__ = ["excerpt", "position_of", "problem"]

_BEFORE_MAX = 60
_AFTER_MAX = 100
_WHAT_MAX = 300
"""Characters of what is wrong: it may quote a name or a number of any length."""


def position_of(text: str, offset: int) -> Position:
    """Return line and column of an offset in characters; the column counts bytes, as Prometheus does."""
    line_start = text.rfind("\n", 0, offset) + 1
    line = text.count("\n", 0, offset) + 1 if line_start else 1
    before = text[line_start:offset]
    return Position(line, (len(before) if before.isascii() else len(before.encode("utf-8", "replace"))) + 1)


def problem(text: str, start: int, what: str, *, end: int | None = None) -> ParseError:
    """Return the error for the place start..end of a query: `1:5: parse error: <what>. In: sum(>>>x<<<)`.

    `what` says what must hold, what was given and the way out.
    """
    start = min(start, len(text))
    end = start if end is None else min(max(end, start), len(text))
    line, column = position_of(text, start)
    if len(what) > _WHAT_MAX:
        what = what[: _WHAT_MAX // 2] + " ... " + what[-_WHAT_MAX // 2 :]
    stop = "" if what.endswith("?") else "."
    return ParseError(f"{line}:{column}: parse error: {what}{stop} In: {_marked(text, start, end)}")


def _marked(text: str, start: int, end: int) -> str:
    """Return the surroundings of a place with marks around it, on one line."""
    low, high = max(0, start - _BEFORE_MAX), min(len(text), max(start + 1, end) + _AFTER_MAX)
    high = min(high, start + _AFTER_MAX)
    end = min(end, high)
    marked = f"{text[low:start]}>>>{text[start:end]}<<<{text[end:high]}"
    flat = " ".join(marked.split()).encode("utf-8", "backslashreplace").decode()
    return ("..." if low else "") + flat + ("..." if high < len(text) else "")


def excerpt(query: str, length_max: int = 200) -> str:
    """Return the query for a message, shortened in the middle if it is long."""
    flat = (
        " ".join(query[: 4 * length_max].split()) if len(query) > 8 * length_max else " ".join(query.split())
    )
    if len(flat) <= length_max:
        return flat
    half = (length_max - 5) // 2
    tail = " ".join(query[-length_max:].split())
    return f"{flat[:half]} ... {tail[-half:]}"
