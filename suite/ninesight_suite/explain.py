"""Turn pydantic's findings into lines that name the key, the rule, what was given, and the way out."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

__all__ = ["explain"]


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """Return one line per finding, as `source: key: what must hold, got what was given`."""
    lines = [f"{source}: {_line(finding, model)}" for finding in error.errors(include_url=False)]
    return "\n".join(lines)


def _line(finding: typing.Mapping[str, typing.Any], model: type[BaseModel]) -> str:
    place = finding["loc"]
    key = ".".join(str(step) for step in place)
    if finding["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_suggestion(place, model)}"
    if finding["type"] == "missing":
        return f"{key}: must be given"
    words = str(finding["msg"]).removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    given = finding.get("input")
    # A receiver's address counts as a secret: its path often is one.
    secret = any(word in key for word in ("secret", "token", "password", "url", "headers"))
    if isinstance(given, dict | list) or "got " in words or secret:
        return f"{key}: {words}"
    return f"{key}: {words}, got {given!r}"


def _suggestion(place: Sequence[int | str], model: type[BaseModel]) -> str:
    """Name the nearest known key, or all of them where none is near."""
    parent = _model_at(model, place[:-1])
    if parent is None:
        return ""
    known = [field.alias or name for name, field in parent.model_fields.items()]
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(sorted(known))}"


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model that holds the key at `place`; None where the path leaves the models."""
    here: type[BaseModel] | None = model
    for step in place:
        if isinstance(step, int):
            continue
        if here is None or step not in here.model_fields:
            return None
        here = _model_in(here.model_fields[step].annotation)
    return here


def _model_in(annotation: typing.Any) -> type[BaseModel] | None:
    """Return the first model inside an annotation such as `tuple[X, ...] | None`."""
    if isinstance(annotation, type) and not typing.get_origin(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in typing.get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None
