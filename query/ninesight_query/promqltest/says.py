"""Whether the annotations and errors of an answer are those that a script expects."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ninesight_query.promqltest.script import Expect

__all__ = ["annotations_differ", "error_differs"]

_POSITION = re.compile(r" ?\(\d+:\d+\)$")
_POSITION_PATTERN = re.compile(r" ?\\\([^ ()]*\\\)$")


def _bare(text: str) -> str:
    """Drop the position of the sub-expression."""
    return _POSITION.sub("", text.strip())


def _matches(expect: Expect, text: str) -> bool:
    """Compare with the position where both sides have one: not every engine tells it."""
    if expect.text is None:
        return True
    placed = _POSITION.search(text.strip()) is not None
    if expect.regex:
        pattern = expect.text if placed else _POSITION_PATTERN.sub("", expect.text)
        return re.search(pattern, text.strip() if placed else _bare(text)) is not None
    if placed and _POSITION.search(expect.text.strip()):
        return expect.text.strip() == text.strip()
    return _bare(expect.text) == _bare(text)


def _kind_differs(kind: str, says: Sequence[Expect], texts: Sequence[str]) -> str | None:
    wanted = [expect for expect in says if expect.kind == kind]
    if any(expect.kind == f"no_{kind}" for expect in says) and texts:
        return f"expected no {kind}, got {list(texts)}"
    if not wanted:
        return None
    for expect in wanted:
        if not any(_matches(expect, text) for text in texts):
            return f"expected {kind} {expect.text or '(any)'!r}, got {list(texts)}"
    for text in texts:
        if not any(_matches(expect, text) for expect in wanted):
            return f"unexpected {kind} {text!r}"
    return None


def annotations_differ(says: Sequence[Expect], warnings: Sequence[str], infos: Sequence[str]) -> str | None:
    """Return None where warnings and infos are as expected; a kind without an expect line is not checked."""
    return _kind_differs("warn", says, warnings) or _kind_differs("info", says, infos)


def error_differs(says: Sequence[Expect], text: str) -> str | None:
    """Return None where an error's text is one that was expected."""
    wanted = [expect for expect in says if expect.kind == "fail"]
    if all(_matches(expect, text) for expect in wanted):
        return None
    return f"expected the error {[expect.text for expect in wanted]}, got {text!r}"
