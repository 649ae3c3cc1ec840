"""Read one YAML file strictly: no duplicate keys, no oversize file, errors with line and column."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ninesight_suite.errors import ConfigError

__all__ = ["FILE_BYTES_MAX", "read_mapping"]

FILE_BYTES_MAX = 1 << 20
"""A configuration over 1 MiB is taken for a mistake."""


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: the second would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # The base class words this error well.
            if key in seen:
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} is given twice; keep one of them"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the place of a value that looks like a date or number and is none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"{node.value!r} is not a valid {kind}; correct it, or put it in quotes to make it text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping.

    Raises ConfigError: no such file, too large, not YAML, not a mapping, a key given twice.
    """
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: a configuration holds at most {FILE_BYTES_MAX} bytes, got {size}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8 text, byte {error.start} is not") from error
    try:
        # The loader is a SafeLoader: it constructs plain values only.
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "is not valid YAML"
        raise ConfigError(f"{path}: {place}{problem}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold keys and values, got a {type(document).__name__}")
    return document
