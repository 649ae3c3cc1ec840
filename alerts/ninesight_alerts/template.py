"""Label and annotation templates: the part of Go's text/template that Prometheus rule files use.

    {{ $labels.model }} answers in {{ $value | humanizeDuration }}

Nothing is evaluated but the functions of `template_functions`, and output, loops and queries are
bounded. `expand` never raises: a bad template becomes an error text, never a lost alert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ninesight_query.contract import Labels

from ninesight_alerts.errors import TemplateError
from ninesight_alerts.go_format import go_text
from ninesight_alerts.template_functions import FUNCTIONS, TEXT_CHARS_MAX, truth
from ninesight_alerts.template_parser import parse_template
from ninesight_alerts.template_syntax import (
    Assign,
    Branch,
    Call,
    Field,
    Jump,
    Literal,
    Node,
    Operand,
    Output,
    Pipe,
    Text,
    Variable,
)

__all__ = ["Query", "TemplateData", "expand", "render", "template_check"]

Query = Callable[[str], Sequence[tuple[Labels, float]]]
"""Answers an instant query at the time of the evaluation; raises what it likes."""

STEPS_MAX = 20_000
QUERIES_MAX = 10

_OWN = frozenset({"and", "or", "query", "externalURL", "pathPrefix"})
_PREAMBLE = {
    "labels": "Labels",
    "externalLabels": "ExternalLabels",
    "externalURL": "ExternalURL",
    "value": "Value",
}
_NOTHING = object()


def _no_query(_query: str) -> Sequence[tuple[Labels, float]]:
    raise TemplateError("query is not available here")


@dataclass(frozen=True)
class TemplateData:
    """What a template sees: the element's labels (metric name included) and value."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    query: Query = _no_query


def expand(text: str, data: TemplateData) -> str:
    """Return the filled template, or `<error expanding template: ...>`. Never raises."""
    if "{{" not in text:
        return text
    try:
        return render(text, data)
    except Exception as error:
        return f"<error expanding template: {error}>"


def render(text: str, data: TemplateData) -> str:
    """Return the filled template. Raises TemplateError for a bad one."""
    return _Renderer(data).run(_parsed(text))


def template_check(text: str) -> None:
    """Raise TemplateError if the text cannot be read as a template."""
    _parsed(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[Node, ...]:
    return parse_template(text, frozenset(FUNCTIONS) | _OWN)


class _JumpError(Exception):
    """Leaves the body of a range."""


class _Renderer:
    """Walks one template once."""

    def __init__(self, data: TemplateData) -> None:
        self._data = data
        root = {
            "Labels": dict(data.labels),
            "ExternalLabels": dict(data.external_labels),
            "ExternalURL": data.external_url,
            "Value": float(data.value),
        }
        self._scopes: list[dict[str, Any]] = [
            {"": root} | {name: root[key] for name, key in _PREAMBLE.items()}
        ]
        self._root = root
        self._out: list[str] = []
        self._chars = 0
        self._steps = 0
        self._queries = 0

    def run(self, nodes: Sequence[Node]) -> str:
        self._nodes(nodes, self._root)
        return "".join(self._out)

    def _nodes(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise TemplateError(f"a template takes at most {STEPS_MAX} steps; narrow its range")
            match node:
                case Text(text):
                    self._print(text)
                case Output(pipe):
                    value = self._pipe(pipe, dot)
                    self._print("<no value>" if value is None else go_text(value))
                case Assign(name, pipe, declares):
                    self._assign(name, self._pipe(pipe, dot), declares=declares)
                case Jump(word):
                    raise _JumpError(word)
                case Branch():
                    self._branch(node, dot)

    def _print(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > TEXT_CHARS_MAX:
            raise TemplateError(f"a template gives at most {TEXT_CHARS_MAX} characters")
        self._out.append(text)

    def _assign(self, name: str, value: Any, *, declares: bool) -> None:
        if declares:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise TemplateError(f"undefined variable ${name}")

    def _branch(self, node: Branch, dot: Any) -> None:
        self._scopes.append({})
        try:
            value = self._pipe(node.pipe, dot)
            if node.word == "range":
                self._range(node, value, dot)
                return
            for name in node.names:
                self._scopes[-1][name] = value
            if truth(value):
                self._nodes(node.body, value if node.word == "with" else dot)
            else:
                self._nodes(node.otherwise, dot)
        finally:
            self._scopes.pop()

    def _range(self, node: Branch, value: Any, dot: Any) -> None:
        items = list(_items(value))
        if not items:
            self._nodes(node.otherwise, dot)
        for key, item in items:
            self._scopes.append(
                dict(zip(node.names, (item,) if len(node.names) == 1 else (key, item), strict=False))
            )
            try:
                self._nodes(node.body, item)
            except _JumpError as jump:
                if str(jump) == "break":
                    return
            finally:
                self._scopes.pop()

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = _NOTHING
        for call in pipe.calls:
            value = self._call(call, dot, value)
        return value

    def _call(self, call: Call, dot: Any, piped: Any) -> Any:
        self._steps += 1
        if call.function in {"and", "or"}:
            return self._logic(call, dot, piped)
        values = [self._operand(argument, dot) for argument in call.arguments]
        if piped is not _NOTHING:
            values.append(piped)
        if not call.function:
            return values[0]
        if call.function == "query":
            return self._query(values)
        if call.function in _OWN:
            url = self._data.external_url
            return url if call.function == "externalURL" else urlsplit(url).path
        try:
            return FUNCTIONS[call.function](*values)
        except TypeError:
            raise TemplateError(f"{call.function} does not take these {len(values)} arguments") from None

    def _logic(self, call: Call, dot: Any, piped: Any) -> Any:
        """`and` gives the first empty argument, `or` the first that is not; later ones are not evaluated."""
        value: Any = _NOTHING
        for argument in call.arguments:
            value = self._operand(argument, dot)
            if truth(value) is (call.function == "or"):
                return value
        value = value if piped is _NOTHING else piped
        if value is _NOTHING:
            raise TemplateError(f"{call.function} needs an argument")
        return value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Literal(value):
                return value
            case Variable("."):
                return dot
            case Variable(name):
                for scope in reversed(self._scopes):
                    if name in scope:
                        return scope[name]
                raise TemplateError(f"undefined variable ${name}")
            case Field(base, name):
                return _member(self._operand(base, dot), name)
            case Pipe():
                return self._pipe(operand, dot)
            case Call():
                return self._call(operand, dot, _NOTHING)

    def _query(self, values: Sequence[Any]) -> list[dict[str, Any]]:
        self._queries += 1
        if self._queries > QUERIES_MAX:
            raise TemplateError(f"a template asks at most {QUERIES_MAX} queries")
        if len(values) != 1 or not isinstance(values[0], str):
            raise TemplateError("query takes one text")
        answer = self._data.query(values[0])
        return [{"Labels": dict(labels), "Value": float(value)} for labels, value in answer]


def _member(value: Any, name: str) -> Any:
    """A missing key of a map of texts is "", as Prometheus sets it; any other miss is an error."""
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        if "Labels" not in value:
            return ""
    raise TemplateError(f"can't evaluate field {name} in {go_text(value)[:60]}")


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return iter(sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return iter(enumerate(value))
    if value is None:
        return iter(())
    raise TemplateError(f"range can't iterate over {go_text(value)[:60]}")
