"""Reading Prometheus rule files, strictly: every error names the file, the group, the rule and the key.

Nothing is guessed: an unknown key, a duplicate key, a bad duration or bad PromQL is refused when
the file is read, never found later. Templates are the exception: one that cannot be read becomes
text in its annotation, and `template_problems` lists it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from ninesight_query.errors import QueryError
from ninesight_query.parse import parse

from ninesight_alerts.durations import duration_ms
from ninesight_alerts.errors import RuleError, TemplateError
from ninesight_alerts.rules import Rule, RuleGroup, keyed
from ninesight_alerts.template import template_check

__all__ = ["load_rules", "rules_from_mapping", "rules_from_text", "template_problems"]

FILE_BYTES_MAX = 4 * 1024 * 1024
RULES_MAX = 10_000
INTERVAL_MS_MIN = 100

_LABEL_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_GROUP_KEYS = ("name", "interval", "limit", "query_offset", "labels", "rules")
_ALERT_KEYS = ("alert", "expr", "for", "keep_firing_for", "labels", "annotations")
_RECORD_KEYS = ("record", "expr", "labels")


class _Loader(yaml.SafeLoader):
    """YAML where every scalar stays the text it was written as, and a key occurs once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class reads this attribute.

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} occurs twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the place of a value whose tag it does not fit."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r} does not fit its tag {node.tag}", node.start_mark
            ) from error


def load_rules(paths: Sequence[str | Path], *, interval_ms: int) -> tuple[RuleGroup, ...]:
    """Return the groups of all files in order, rules keyed.

    A path may be a pattern (`rules/*.yml`); a plain path must exist. `interval_ms` is the interval
    of groups that name none. Raises RuleError.
    """
    groups: list[RuleGroup] = []
    for path in _files(paths):
        groups += _file(path, interval_ms)
    return _bounded(groups)


def rules_from_mapping(
    document: Mapping[str, Any], *, interval_ms: int = 15_000, file: str = ""
) -> tuple[RuleGroup, ...]:
    """Return the groups of a document made by code, under the same rules as a file. Raises RuleError."""
    return _bounded(_groups(document, file, interval_ms))


def rules_from_text(text: str, *, interval_ms: int = 15_000, file: str = "") -> tuple[RuleGroup, ...]:
    """Return the groups of a rule file's text. Raises RuleError."""
    return _bounded(_groups(_document(text, file or "rules"), file, interval_ms))


def template_problems(groups: Sequence[RuleGroup]) -> tuple[str, ...]:
    """Return what is wrong with templates of alerting rules, one line each; such a rule still works."""
    found = []
    for group in groups:
        for rule in group.rules:
            for part, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
                for key, text in texts.items():
                    try:
                        template_check(text)
                    except TemplateError as error:
                        place = f"{group.file or 'rules'}: group {group.name!r}, rule {rule.name!r}"
                        found.append(f"{place}, {part}.{key}: {error}")
    return tuple(found)


def _files(paths: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for given in map(Path, paths):
        if not re.search(r"[*?\[]", given.name):
            found.append(given)
        else:
            found += sorted(given.parent.glob(given.name))
    return list(dict.fromkeys(found))


def _file(path: Path, interval_ms: int) -> list[RuleGroup]:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RuleError(
            f"{path}: a rule file must be readable, got {error.strerror}; correct rule_files"
        ) from None
    if len(content) > FILE_BYTES_MAX:
        raise RuleError(f"{path}: a rule file has at most {FILE_BYTES_MAX} bytes; split it")
    return _groups(_document(content, str(path)), str(path), interval_ms)


def _document(content: str | bytes, place: str) -> Any:
    try:
        document = yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader that keeps scalars as text.
    except (yaml.YAMLError, UnicodeError) as error:
        raise RuleError(f"{place}: a rule file must be YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RuleError(f"{place}: a rule file must not nest this deep") from None
    return document or {}


def _bounded(groups: Sequence[RuleGroup]) -> tuple[RuleGroup, ...]:
    count = sum(len(group.rules) for group in groups)
    if count > RULES_MAX:
        raise RuleError(f"at most {RULES_MAX} rules can be loaded, got {count}; run a second instance")
    return keyed(groups)


def _groups(document: Any, file: str, interval_ms: int) -> list[RuleGroup]:
    place = file or "rules"
    top = _mapping(document, place, ("groups",))
    groups = [
        _group(item, place, position, interval_ms)
        for position, item in enumerate(_list(top.get("groups"), f"{place}: groups"), 1)
    ]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise RuleError(
                f"{place}: group names must be unique in a file, {name!r} occurs twice; rename one"
            )
    return [replace(group, file=file) for group in groups]


def _group(item: Any, file: str, position: int, interval_ms: int) -> RuleGroup:
    place = f"{file}: group {position}"
    found = _mapping(item, place, _GROUP_KEYS)
    name = _text(found, "name", place, required=True)
    place = f"{file}: group {name!r}"
    labels = _labels(found, "labels", place)
    rules = [
        _rule(entry, f"{place}, rule {number}", place, labels)
        for number, entry in enumerate(_list(found.get("rules"), f"{place}: rules"), 1)
    ]
    every_ms = _duration(found, "interval", place) or interval_ms
    if every_ms < INTERVAL_MS_MIN:
        raise RuleError(f"{place}: interval must be at least {INTERVAL_MS_MIN}ms, got {found['interval']}")
    return RuleGroup(
        name, tuple(rules), every_ms, _count(found, "limit", place), _duration(found, "query_offset", place)
    )


def _rule(item: Any, place: str, group: str, group_labels: Mapping[str, str]) -> Rule:
    given = _mapping(item, place, tuple(dict.fromkeys(_ALERT_KEYS + _RECORD_KEYS)))
    alert, record = _text(given, "alert", place), _text(given, "record", place)
    if bool(alert) == bool(record):
        raise RuleError(
            f"{place}: exactly one of alert and record must be set, got {'both' if alert else 'neither'}"
        )
    name = alert or record
    place = f"{group}, rule {name!r}"
    _mapping(item, place, _ALERT_KEYS if alert else _RECORD_KEYS)
    expr = _text(given, "expr", place, required=True)
    _check_expr(expr, place)
    labels = {**group_labels, **_labels(given, "labels", place)}
    if record:
        if not _METRIC_NAME.fullmatch(record):
            raise RuleError(
                f"{place}: record must be a metric name ([a-zA-Z_:][a-zA-Z0-9_:]*), got {record!r}"
            )
        return Rule(name, "recording", expr, labels=labels)
    return Rule(
        name,
        "alerting",
        expr,
        _duration(given, "for", place),
        _duration(given, "keep_firing_for", place),
        labels,
        _labels(given, "annotations", place),
    )


def _check_expr(expr: str, place: str, check: Callable[[str], object] = parse) -> None:
    try:
        check(expr)
    except QueryError as error:
        raise RuleError(f"{place}: expr must be PromQL, got {expr!r}: {error}") from None


def _mapping(item: Any, place: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise RuleError(f"{place}: must be a mapping with the keys {', '.join(keys)}, got {_shown(item)}")
    for key in item:
        if key not in keys:
            raise RuleError(f"{place}: unknown key {key!r}; known are {', '.join(keys)}")
    return item


def _list(item: Any, place: str) -> Sequence[Any]:
    if item in (None, ""):
        return ()
    if not isinstance(item, Sequence) or isinstance(item, str):
        raise RuleError(f"{place}: must be a list, got {_shown(item)}")
    return item


def _text(found: Mapping[str, Any], key: str, place: str, *, required: bool = False) -> str:
    value = _scalar(found.get(key, ""), f"{place}, {key}")
    if required and not value.strip():
        raise RuleError(f"{place}: {key} must be set")
    return value


def _scalar(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else str(value)
    raise RuleError(f"{place}: must be a text, got {_shown(value)}")


def _labels(found: Mapping[str, Any], key: str, place: str) -> dict[str, str]:
    given = found.get(key)
    if given in (None, ""):
        return {}
    if not isinstance(given, Mapping):
        raise RuleError(f"{place}: {key} must be a mapping of texts, got {_shown(given)}")
    for name in given:
        if not isinstance(name, str) or not _LABEL_NAME.fullmatch(name) or name == "__name__":
            raise RuleError(f"{place}: {key} must have names like [a-zA-Z_][a-zA-Z0-9_]*, got {name!r}")
    return {name: _scalar(value, f"{place}, {key}.{name}") for name, value in given.items()}


def _duration(found: Mapping[str, Any], key: str, place: str) -> int:
    text = _text(found, key, place)
    try:
        return duration_ms(text) if text else 0
    except ValueError as error:
        raise RuleError(f"{place}: {key}: {error}") from None


def _count(found: Mapping[str, Any], key: str, place: str) -> int:
    text = _text(found, key, place)
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,9}", text):
        raise RuleError(f"{place}: {key} must be a whole number, 0 for no limit, got {text!r}")
    return int(text)


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {str(item)[:60]!r}"
