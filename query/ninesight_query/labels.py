"""Algebra on label sets: sorted tuples of (name, value), as the store hands them out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from ninesight_store.contract import Int64, Labels

from ninesight_query.label_memo import remembered

__all__ = [
    "METADATA_LABELS",
    "METRIC_NAME",
    "Bare",
    "as_tuple",
    "ascending",
    "bare",
    "distinct",
    "drop_metadata",
    "get",
    "group_ids",
    "in_ascending_order",
    "in_order",
    "itself",
    "keep",
    "metric_names",
    "remove",
    "show",
    "signature_of",
    "with_label",
    "without_metadata",
]

METRIC_NAME = "__name__"
METADATA_LABELS = frozenset({"__name__", "__type__", "__unit__"})
"""What a computation takes away: the result is no longer that metric."""


def get(labels: Labels, name: str) -> str:
    """Return the value of a label, "" where it is missing."""
    for key, value in labels:
        if key == name:
            return value
    return ""


def drop_metadata(labels: Labels) -> Labels:
    """Return the labels without the metric's name, type and unit."""
    return tuple(pair for pair in labels if pair[0] not in METADATA_LABELS)


class Bare(NamedTuple):
    """Labels without names, types and units. Shared: nobody changes the list."""

    labels: list[Labels]
    distinct: bool
    """Whether no two series have the same ones."""


def bare(all_labels: Sequence[Labels]) -> Bare:
    """Return the labels of many series without their names, types and units."""
    found: Bare = remembered(all_labels, "bare", partial(_bare, all_labels), attrgetter("labels"))
    return found


def _bare(all_labels: Sequence[Labels]) -> Bare:
    labels = [drop_metadata(each) for each in all_labels]
    return Bare(labels, len(set(labels)) == len(labels))


def without_metadata(all_labels: Sequence[Labels]) -> list[Labels]:
    """Return the labels of many series without their names, types and units. Shared: nobody changes the list."""
    return bare(all_labels).labels


def as_tuple(all_labels: Sequence[Labels]) -> tuple[Labels, ...]:
    """Return the labels as a tuple, the same one for the same sequence."""
    if isinstance(all_labels, tuple):
        return all_labels
    return remembered(all_labels, "tuple", lambda: tuple(all_labels), itself)


def in_order(all_labels: Sequence[Labels], order: Sequence[int]) -> Sequence[Labels]:
    """Return the labels in the order that `ascending` gave."""
    return remembered(all_labels, "sorted", lambda: [all_labels[row] for row in order], itself)


def itself(labels: Sequence[Labels]) -> Sequence[Labels]:
    """Return the labels that something holds, where it is nothing but labels."""
    return labels


def distinct(all_labels: Sequence[Labels]) -> bool:
    """Whether no two series have the same labels."""
    return remembered(all_labels, "distinct", lambda: len(set(all_labels)) == len(all_labels))


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Return only the named labels."""
    return tuple(pair for pair in labels if pair[0] in names)


def remove(labels: Labels, names: Collection[str]) -> Labels:
    """Return all but the named labels."""
    return tuple(pair for pair in labels if pair[0] not in names)


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """Return the labels with one set; the value "" removes it."""
    others = [pair for pair in labels if pair[0] != name]
    if value:
        others.append((name, value))
        others.sort()
    return tuple(others)


def show(labels: Labels) -> str:
    """Return `{a="1", b="2"}` for messages."""
    quoted = ", ".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in labels
    )
    return "{" + quoted + "}"


def signature_of(on: bool, names: Sequence[str]) -> Callable[[Labels], Labels]:
    """Return the function that gives a series its match group: `on (names)`, else all but names and `__name__`."""
    if on:
        wanted = frozenset(names)
        if not wanted:
            return lambda _: ()
        return lambda labels: tuple(pair for pair in labels if pair[0] in wanted)
    unwanted = frozenset(names) | {METRIC_NAME}
    return lambda labels: tuple(pair for pair in labels if pair[0] not in unwanted)


def group_ids(
    all_labels: Sequence[Labels], signature: Callable[[Labels], Labels]
) -> tuple[Int64, list[Labels]]:
    """Number the groups in order of first sight: ids [S] and each group's signature [G]."""
    seen: dict[Labels, int] = {}
    ids = np.empty(len(all_labels), np.int64)
    for row, labels in enumerate(all_labels):
        ids[row] = seen.setdefault(signature(labels), len(seen))
    return ids, list(seen)


def ascending(all_labels: Sequence[Labels]) -> list[int]:
    """Return the rows in the order of their labels (Prometheus' labels.Compare). Shared: nobody changes the list."""
    return remembered(all_labels, "order", lambda: sorted(range(len(all_labels)), key=all_labels.__getitem__))


def in_ascending_order(all_labels: Sequence[Labels]) -> bool:
    """Whether the rows are in the order of their labels."""
    return remembered(all_labels, "in order", lambda: ascending(all_labels) == [*range(len(all_labels))])


def metric_names(all_labels: Sequence[Labels]) -> list[str]:
    """Return the metric name of many series. Shared: nobody changes the list."""
    return remembered(all_labels, "names", lambda: [get(labels, METRIC_NAME) for labels in all_labels])
