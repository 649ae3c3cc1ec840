"""Reading a template: text and `{{ actions }}` to a tree, after Go's text/template.

The subset rule files use: text, trim markers, comments, `if`/`else if`/`else`, `with`, `range`,
`break`, `continue`, variables, fields, literals, calls, pipes and parentheses. `define`,
`template` and `block` are refused by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ninesight_alerts.errors import TemplateError

__all__ = [
    "Assign",
    "Branch",
    "Call",
    "Field",
    "Jump",
    "Literal",
    "Node",
    "Output",
    "Pipe",
    "Text",
    "Variable",
]

TEMPLATE_CHARS_MAX = 16 * 1024
DEPTH_MAX = 32

_ACTION = re.compile(
    r"""\{\{(-(?=\s))?((?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|[^"`])*?)((?<=\s)-)?\}\}""",
    re.DOTALL,
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))
      | (?P<variable>\$[A-Za-z0-9_]*)
      | (?P<field>\.[A-Za-z_]\w*)
      | (?P<dot>\.(?![A-Za-z_\d]))
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stand for themselves."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, number, true, false or nil."""

    value: str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`; "" is `$`, the data the template began with, and "." is the current dot."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """`.name` of a value."""

    base: Variable | Field | Pipe
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments, or one operand alone (function is "")."""

    function: str
    arguments: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Calls from left to right; each result is the last argument of the next call."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """Print a value."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Assign:
    """`$name := pipe` (declares) or `$name = pipe` (changes)."""

    name: str
    pipe: Pipe
    declares: bool


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue` of the innermost range."""

    word: str


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range` with its body and its else part; `names` are the variables it declares."""

    word: str
    names: tuple[str, ...]
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Operand = Literal | Variable | Field | Pipe | Call
Node = Text | Output | Assign | Branch | Jump

Token = tuple[str, str]


def split(template: str) -> list[tuple[str, str]]:
    """Return ("text", ...) and ("action", ...) pieces; trim markers applied, comments gone."""
    if len(template) > TEMPLATE_CHARS_MAX:
        raise TemplateError(f"a template has at most {TEMPLATE_CHARS_MAX} characters, got {len(template)}")
    pieces: list[tuple[str, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        pieces.append(("text", text.rstrip() if match[1] else text))
        inner, trim, position = match[2].strip(), bool(match[3]), match.end()
        if not (inner.startswith("/*") and inner.endswith("*/")):
            pieces.append(("action", inner))
    tail = template[position:]
    if "{{" in tail:
        raise TemplateError("an action is closed by }}, got {{ without it")
    pieces.append(("text", tail.lstrip() if trim else tail))
    return [piece for piece in pieces if piece != ("text", "")]


def tokens(action: str) -> list[Token]:
    """Return (kind, text) of each token of one action; a blank before `.x` is kept as kind "space"."""
    found: list[Token] = []
    position = 0
    while position < len(action):
        match = _TOKEN.match(action, position)
        if match is None:
            raise TemplateError(f"unexpected {action[position : position + 10]!r} in {{{{ {action[:60]} }}}}")
        assert match.lastgroup is not None
        found.append((match.lastgroup, match[0]))
        position = match.end()
    return found


def literal(kind: str, text: str) -> Literal:
    """Return the value of a string or number token."""
    if kind == "number":
        if text.lstrip("+-")[:2].lower() == "0x" or text.lstrip("+-").isdigit():
            return Literal(int(text, 0 if "x" in text.lower() else 10))
        return Literal(float(text))
    if text.startswith("`"):
        return Literal(text[1:-1])
    try:
        return Literal(json.loads(re.sub(r"\\([abfnrtv'])", _escape, text).replace("\t", "\\t")))
    except ValueError:
        raise TemplateError(f"the text {text} has an escape that Go does not know") from None


def _escape(match: re.Match[str]) -> str:
    return {"a": "\\u0007", "v": "\\u000b", "'": "'"}.get(match[1], match[0])
