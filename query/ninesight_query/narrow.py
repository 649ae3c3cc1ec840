"""A range function that is asked of some series, and of more series beside them, is worked out once.

    sum(rate(requests{outcome="error"}[5m])) / sum(rate(requests[5m]))
             └── some of the rows ◄──────────────── worked out once

This is how ratios are written: error rates, service levels, shares. A range function looks at one series at a time, so
the narrow call is the wide one's rows that its further matchers take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from ninesight_store.contract import Int64, Labels, Matcher
from ninesight_store.errors import MatcherError
from ninesight_store.matchers import CompiledMatcher, compile_matchers, labels_match

from ninesight_query import ir
from ninesight_query.block import Block
from ninesight_query.label_memo import remembered
from ninesight_query.labels import METADATA_LABELS

__all__ = ["Narrow", "narrow_calls", "narrowed"]

_CALLS_MAX = 64
"""Calls of a query that are compared with each other."""
_OF_ALL = frozenset({"absent_over_time"})
"""Range functions that look at all series together."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """How a call follows from a wider one."""

    wide: ir.Call
    further: tuple[CompiledMatcher, ...]
    """What a series of the wide one has to fulfil beside; () for the wide call itself, and for one that equals it."""
    key: str
    """Tells these conditions from all others."""


def narrow_calls(expr: ir.Expr) -> dict[int, Narrow]:
    """Return by `id` the calls of range functions that share their work with another one, the wide ones too."""
    alike: dict[tuple[int, ir.Call], list[_Call]] = {}
    for level, call in islice(_calls(expr), _CALLS_MAX):
        bare, matchers = _without_matchers(call)
        if matchers is not None and call.name not in _OF_ALL:
            alike.setdefault((level, bare), []).append(_Call(call, matchers))
    out: dict[int, Narrow] = {}
    for group in alike.values():
        wide: list[_Call] = []
        for one in sorted(group, key=lambda each: len(each.matchers)):
            found = next(filter(None, (_narrow(one, each) for each in wide)), None)
            if found is None:
                wide.append(one)
            else:
                out[id(found.wide)], out[id(one.call)] = Narrow(found.wide, (), ""), found
    return out


class _Call(NamedTuple):
    call: ir.Call
    matchers: tuple[Matcher, ...]


def _calls(expr: ir.Expr) -> Iterator[tuple[int, ir.Call]]:
    """Yield the calls with the subquery that they stand in, 0 for none: each has steps of its own."""
    waiting = [(expr, 0)]
    while waiting:
        node, level = waiting.pop()
        if isinstance(node, ir.Call):
            yield level, node
        below = id(node) if isinstance(node, ir.Subquery) else level
        waiting.extend((child, below) for child in ir.children(node))


def _without_matchers(call: ir.Call) -> tuple[ir.Call, tuple[Matcher, ...] | None]:
    """Return a call that is equal for all that ask the same of other series, and the matchers it had."""
    matchers: tuple[Matcher, ...] | None = None
    args: list[ir.Expr] = []
    for arg in call.args:
        if isinstance(arg, ir.RangeSelector) and not arg.selector.extension:
            matchers = arg.selector.matchers
            args.append(replace(arg, selector=replace(arg.selector, matchers=())))
        else:
            args.append(arg)
    return replace(call, args=tuple(args)), matchers


def _narrow(one: _Call, wide: _Call) -> Narrow | None:
    """Return how one call follows from another; None where it does not."""
    if not set(wide.matchers) <= set(one.matchers):
        return None
    further = [each for each in one.matchers if each not in wide.matchers]
    if any(each.name in METADATA_LABELS for each in further):
        # A result has lost the name, and with it what these look at.
        return None
    try:
        compiled = compile_matchers(further)
    except MatcherError:
        # Who reads the series says what is wrong.
        return None
    return Narrow(wide.call, compiled, repr([(each.name, each.op.value, each.value) for each in further]))


class _Rows(NamedTuple):
    rows: Int64
    labels: list[Labels]


def narrowed(block: Block, narrow: Narrow) -> Block:
    """Return the series of the wide call that the narrow one asks for. Raises MatcherError."""
    if not narrow.further:
        return block
    make = partial(_rows, block.labels, narrow.further)
    return block.take(*remembered(block.labels, narrow.key, make, attrgetter("labels")))


def _rows(all_labels: Sequence[Labels], further: tuple[CompiledMatcher, ...]) -> _Rows:
    rows = [row for row, labels in enumerate(all_labels) if labels_match(further, labels)]
    return _Rows(np.array(rows, np.int64), [all_labels[row] for row in rows])
