"""What every `Engine` must do with exemplars; part of the contract suite.

store.write(batch_with_exemplars())
@pytest.mark.parametrize("check", EXEMPLAR_CHECKS)
def test_contract(check, engine): check(engine)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ninesight_store.contract import (
    Batch,
    Exemplar,
    ExemplarColumns,
    Labels,
    Matcher,
    MatchOp,
    SeriesExemplars,
    labels_of,
)

from ninesight_query.contract import Engine
from ninesight_query.contract_suite import BASE_MS, END_MS, ODD_TEXT, Check, batch
from ninesight_query.errors import ParseError

__all__ = ["EXEMPLAR_CHECKS", "batch_with_exemplars"]

_BUCKET = labels_of("suite_seconds_bucket", {"model": "a", "job": "suite", "le": "0.5"})
_COUNTER = labels_of("suite_requests_total", {"model": "b", "job": "suite"})
_NATIVE = labels_of("suite_native", {"job": "suite"})
_EARLY = Exemplar((("trace_id", "01"),), 0.25, BASE_MS + 15_123)
_LATE = Exemplar((("span_id", "7"), ("trace_id", ODD_TEXT)), 0.375, BASE_MS + 30_000)
_PLAIN = Exemplar((), 1.0, BASE_MS + 15_000)
_OF_NATIVE = Exemplar((("trace_id", "02"),), 4.5, BASE_MS + 45_000)


def batch_with_exemplars() -> Batch:
    """Return the suite's samples with two exemplars of a bucket, one of a counter, one of a native histogram."""
    whole = batch()
    rows = [(_BUCKET, _LATE), (_BUCKET, _EARLY), (_COUNTER, _PLAIN), (_NATIVE, _OF_NATIVE)]
    columns = ExemplarColumns(
        np.array([whole.series.labels.index(labels) for labels, _ in rows], np.int32),
        np.array([one.timestamp_ms for _, one in rows], np.int64),
        np.array([one.value for _, one in rows], np.float64),
        tuple(one.labels for _, one in rows),
    )
    return replace(whole, exemplars=columns)


def _named(labels: Labels) -> tuple[Matcher, ...]:
    return (Matcher("__name__", MatchOp.EQUAL, dict(labels)["__name__"]),)


def check_exemplars(engine: Engine) -> None:
    """Each series has its own, by time, with value and labels as they were; series are sorted."""
    found = engine.exemplars([_named(_NATIVE), _named(_BUCKET), _named(_COUNTER)], BASE_MS, END_MS)
    wanted = [
        SeriesExemplars(_BUCKET, (_EARLY, _LATE)),
        SeriesExemplars(_COUNTER, (_PLAIN,)),
        SeriesExemplars(_NATIVE, (_OF_NATIVE,)),
    ]
    assert list(found) == sorted(wanted, key=lambda each: each.series)


def check_selected_exemplars(engine: Engine) -> None:
    """Only the matching series', each once, and only those of the span, both ends included."""
    narrow = (*_named(_BUCKET), Matcher("le", MatchOp.REGEX, "0.5|1"))
    (found,) = engine.exemplars([narrow, narrow, _named(_BUCKET)], _EARLY.timestamp_ms, _EARLY.timestamp_ms)
    assert found == SeriesExemplars(_BUCKET, (_EARLY,))
    assert engine.exemplars([narrow], _LATE.timestamp_ms + 1, END_MS) == ()
    other = (*_named(_BUCKET), Matcher("le", MatchOp.EQUAL, "1"))
    assert engine.exemplars([other], BASE_MS, END_MS) == ()


def check_no_exemplars(engine: Engine) -> None:
    """No selector is no series; a series that is not there has none; a bad pattern is a ParseError."""
    assert engine.exemplars([], BASE_MS, END_MS) == ()
    assert engine.exemplars([(Matcher("__name__", MatchOp.EQUAL, "suite_nothing"),)], BASE_MS, END_MS) == ()
    if not engine.capabilities.exemplars:
        return
    try:
        engine.exemplars([(Matcher("__name__", MatchOp.REGEX, "suite_("),)], BASE_MS, END_MS)
    except ParseError:
        return
    raise AssertionError("a broken pattern must be a ParseError")


EXEMPLAR_CHECKS: tuple[Check, ...] = (check_exemplars, check_selected_exemplars, check_no_exemplars)
"""For engines that keep exemplars and were given those of `batch_with_exemplars()`."""
