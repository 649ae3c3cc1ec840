"""Read YAML a person wrote: bounded in size and nesting, several documents, findings in words."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ninesight_analytics.errors import AnalyticsError

__all__ = ["DEPTH_MAX", "NODES_MAX", "TEXT_BYTES_MAX", "checked", "read_documents"]

TEXT_BYTES_MAX = 1 << 20
"""A document over 1 MiB is taken for a mistake."""
DEPTH_MAX = 50
"""Levels of nesting."""
NODES_MAX = 100_000
"""Values in all documents of a file, each use of an alias counted: anchors cannot blow it up."""

Model = TypeVar("Model", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: the second would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key!r} is given twice; keep one of them",
                        problem_mark=key_node.start_mark,
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the place of a value that looks like a date or number and is none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as problem:
            kind = node.tag.rpartition(":")[2]
            words = f"{node.value!r} is not a valid {kind}; correct it, or put it in quotes to make it text"
            raise yaml.MarkedYAMLError(problem=words, problem_mark=node.start_mark) from problem


def read_documents(source: Path | str, error: type[AnalyticsError]) -> tuple[str, list[Any]]:
    """Return (name of the source, its YAML documents without empty ones).

    A `Path`, or a text without a line break, names a file; a text with one is the document itself.
    Raises `error` for a missing, oversize or malformed file.
    """
    name, text = _text(source, error)
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise error(f"{name}: must hold at most {TEXT_BYTES_MAX} bytes; split it into several files")
    try:
        _check_depth(text)
        documents = _constructed(text, name, error)
    except RecursionError:
        raise error(f"{name}: is nested too deeply or refers to itself; write it flat") from None
    except (yaml.YAMLError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = getattr(problem, "problem", None) or str(problem) or "is not valid YAML"
        raise error(f"{name}: {place}{words}") from None
    return name, [document for document in documents if document is not None]


def checked(model: type[Model], value: object, place: str, error: type[AnalyticsError]) -> Model:
    """Return the value as the model, else raise `error` with a line per finding: key, rule, what was given."""
    if not isinstance(value, dict):
        raise error(f"{place}: must hold keys and values, got {_shown(value)}")
    try:
        return model.model_validate(value)
    except ValidationError as problem:
        findings = _causes(problem.errors(include_url=False))
        raise error("\n".join(f"{place}: {_line(finding, model)}" for finding in findings)) from None


def _causes(findings: Sequence[Any]) -> list[Any]:
    """Drop `too short` of a list whose own items are at fault: pydantic says both, one is the mistake."""
    places = [finding["loc"] for finding in findings]
    return [
        finding
        for finding in findings
        if finding["type"] != "too_short"
        or not any(
            place[: len(finding["loc"])] == finding["loc"] and place != finding["loc"] for place in places
        )
    ]


def _text(source: Path | str, error: type[AnalyticsError]) -> tuple[str, str]:
    if isinstance(source, str) and "\n" in source:
        return "document", source
    path = Path(source)
    try:
        if path.stat().st_size > TEXT_BYTES_MAX:
            raise error(f"{path}: must hold at most {TEXT_BYTES_MAX} bytes; split it into several files")
        return str(path), path.read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}; check the path") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path}: must be UTF-8 text, byte {problem.start} is not; save it as UTF-8") from None


def _constructed(text: str, name: str, error: type[AnalyticsError]) -> list[Any]:
    """Compose all documents, weigh them, and only then construct their values."""
    loader = _StrictLoader(text)
    try:
        nodes: list[yaml.Node] = []
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                nodes.append(node)
        count = sum(_size(node, {}, ()) for node in nodes)
        if count > NODES_MAX:
            raise error(
                f"{name}: must hold at most {NODES_MAX} values, got {count}; split it or drop anchors"
            )
        return [loader.construct_document(node) for node in nodes]
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Raise RecursionError for deep nesting; the parser's events come without recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=_StrictLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise RecursionError


def _size(node: yaml.Node | None, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Count a node's values with aliases written out, without writing them out."""
    if node is None:
        return 0
    if id(node) in above:
        raise RecursionError
    if (size := known.get(id(node))) is not None:
        return size
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    size = 1 + sum(_size(part, known, (*above, id(node))) for part in inside)
    known[id(node)] = size
    return size


def _line(finding: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Write one of pydantic's findings as `key: what must hold, got what was given`."""
    steps = [str(step) for step in finding["loc"]]
    key = ".".join(steps) or model.__name__
    if finding["type"] == "missing":
        return f"{key}: must be given"
    if finding["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_near(steps[-1], _keys_at(model, steps[:-1]))}"
    words = str(finding["msg"]).removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    if "got " in words or isinstance(finding.get("input"), dict | list):
        return f"{key}: {words}"
    return f"{key}: {words}, got {_shown(finding.get('input'))}"


def _near(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known keys: {', '.join(sorted(known))}" if known else ""


def _keys_at(model: type[BaseModel], steps: list[str]) -> list[str]:
    """Return the keys the model knows at a place."""
    here: list[type[BaseModel]] = [model]
    for step in steps:
        if step.isdigit():
            continue
        inside = [part for one in here for name, part in _models_of(one) if name == step]
        here = inside or here
    return [field.alias or name for one in here for name, field in one.model_fields.items()]


def _models_of(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        pending: list[Any] = [field.annotation]
        while pending:
            annotation = pending.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                found.append((field.alias or name, annotation))
            pending += getattr(annotation, "__args__", ())
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
