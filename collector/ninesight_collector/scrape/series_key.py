"""One series as an exposition page writes it: `name{label="value",...}`.

Read by regular expressions without nested repetition, so that a hostile line costs linear time.
"""

from __future__ import annotations

import re

from ninesight_collector.errors import ExpositionError

__all__ = ["SeriesKey", "read_key", "unescape"]

SeriesKey = tuple[str, dict[str, str], int]
"""Metric name, labels as exposed, and where the key ends in the line."""

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*")
_LABEL = re.compile(r'\s*(?:([a-zA-Z_][a-zA-Z0-9_]*)|"([^"\\]*(?:\\.[^"\\]*)*)")\s*')
_VALUE = re.compile(r'=\s*"([^"\\]*(?:\\.[^"\\]*)*)"\s*')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}
_SHOWN = 120


def read_key(line: str, *, labels_max: int = 64, value_max: int = 4096) -> SeriesKey:
    """Return the series at the start of a line. Raises ExpositionError for anything else."""
    found = _NAME.match(line)
    name, at = (found.group(1), found.end()) if found else ("", len(line) - len(line.lstrip()))
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        name, at = _read_labels(line, at + 1, name, labels, labels_max)
    if not name:
        raise ExpositionError(f"a line must begin with a metric name, got {_shown(line)}")
    for label, value in labels.items():
        if max(len(value), len(label)) > value_max:
            raise ExpositionError(
                f'a label must have at most {value_max} characters, got {len(value)} in "{label[:80]}" of {name[:80]}',
                reason="labels",
            )
    if len(name) > value_max:
        raise ExpositionError(
            f"a metric name must have at most {value_max} characters, got {len(name)}", reason="labels"
        )
    return name, labels, at


def unescape(text: str) -> str:
    r"""Return the text with \n, \\ and \" resolved; any other pair stays as it is."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda pair: _ESCAPES.get(pair.group(1), pair.group(0)), text)


def _read_labels(line: str, at: int, name: str, labels: dict[str, str], labels_max: int) -> tuple[str, int]:
    while True:
        at = _skip_blanks(line, at)
        if line[at : at + 1] == "}":
            return name, at + 1
        found = _LABEL.match(line, at)
        if not found:
            raise ExpositionError(f'a label must be name="value", got {_shown(line)}')
        at = found.end()
        label = found.group(1) if found.group(1) is not None else unescape(found.group(2))
        value = _VALUE.match(line, at)
        if value:
            if label in labels or label == "__name__" or not label:
                raise ExpositionError(
                    f'a label must appear once and not be "__name__", got "{label[:80]}" in {_shown(line)}'
                )
            labels[label] = unescape(value.group(1))
            at = value.end()
        elif found.group(2) is not None and not name and not labels:
            name = label
        else:
            raise ExpositionError(f'a label must be name="value", got {_shown(line)}')
        if len(labels) > labels_max:
            raise ExpositionError(
                f"a series must have at most {labels_max} labels, got more in {_shown(line)}", reason="labels"
            )
        if line[at : at + 1] == ",":
            at += 1
        elif line[at : at + 1] != "}":
            raise ExpositionError(f"labels must be parted by commas and end with }}, got {_shown(line)}")


def _skip_blanks(line: str, at: int) -> int:
    while line[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _shown(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "...")
