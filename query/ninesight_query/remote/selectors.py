"""Matchers as text for `match[]`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ninesight_store.contract import Matcher

__all__ = ["escaped_label", "selector_text"]

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def selector_text(matchers: Sequence[Matcher]) -> str:
    """Return `{__name__="up",job=~"a|b"}`; no matcher is written as one that every series matches."""
    if not matchers:
        return '{__name__!=""}'
    return "{" + ",".join(f"{_name(each.name)}{each.op}{_quoted(each.value)}" for each in matchers) + "}"


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _quoted(name)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def escaped_label(name: str) -> str:
    """Return a label name for a path: odd ones as `U__a_2e_b` for a.b (Prometheus' values escaping)."""
    if _PLAIN.fullmatch(name):
        return name
    return "U__" + "".join(_escaped(character, first=k == 0) for k, character in enumerate(name))


def _escaped(character: str, *, first: bool) -> str:
    if character == "_":
        return "__"
    plain = character.isascii() and (character.isalpha() or (character.isdigit() and not first))
    return character if plain else f"_{ord(character):x}_"
