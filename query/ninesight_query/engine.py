"""LocalEngine: PromQL over a `Source` in this process.

Safe to call from many threads: it keeps nothing between queries but its settings and its gate. Raises only
QueryError. `cancelling` stops a query that nobody waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from ninesight_store.contract import Labels, Matcher, Metadata, SeriesExemplars, Source
from ninesight_store.errors import MatcherError, StoreError

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.answers import finished, to_matrix, to_ragged, to_vector
from ninesight_query.at_once import AT_ONCE_S, LENGTH_MAX, at_once_settings
from ninesight_query.block import Block, Grid, Scalars, Text
from ninesight_query.budget import Budget, Share
from ninesight_query.cancel import cancelled_now
from ninesight_query.context import Context
from ninesight_query.contract import Answer, Capabilities, Scalar, String, Value
from ninesight_query.errors import ExecutionError, LimitError, ParseError, QueryError, UnavailableError
from ninesight_query.evaluate import evaluate, range_argument
from ninesight_query.extended import outlined
from ninesight_query.fetch import AtHand, Fetcher, Fetching
from ninesight_query.gate import Gate
from ninesight_query.lookback import lookback_now
from ninesight_query.parse import parse
from ninesight_query.pin import pinned
from ninesight_query.plan import plan
from ninesight_query.prepared import Prepared, prepared
from ninesight_query.settings import EngineSettings
from ninesight_query.syntax.computed import resolve

__all__ = ["LocalEngine"]

T = TypeVar("T")

TIME_MS_MAX = 1 << 53


class _Turn(NamedTuple):
    """What a query is given when its turn comes."""

    until_s: float
    share: Share
    fetcher: Fetching
    settings: EngineSettings
    busy_left: Callable[[], bool] | None = None


class LocalEngine:
    """Answers PromQL from a store in this process (the `Engine` contract).

    `rewrite` changes every query after it is read; tests derive further promises from known ones with it.
    """

    def __init__(
        self,
        source: Source,
        settings: EngineSettings | None = None,
        *,
        now_ms: Callable[[], int] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        busy_s: Callable[[], float] = time.thread_time,
        rewrite: Callable[[ir.Expr], ir.Expr] | None = None,
    ) -> None:
        self._source = source
        self._settings = settings or EngineSettings()
        self._fetcher = Fetcher(source, use_starts=self._settings.use_start_timestamps)
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._clock_s, self._busy_s = clock_s, busy_s
        self._rewrite = rewrite
        self._budget = Budget(max(self._settings.samples_shared_max, self._settings.samples_max))
        self._gate = Gate(self._settings.queries_max, self._settings.queries_waiting_max)
        self._at_once_settings = at_once_settings(self._settings)

    @property
    def capabilities(self) -> Capabilities:
        """Say what this engine can do."""
        return Capabilities("local", delayed_name_removal=self._settings.delayed_name_removal)

    @property
    def settings(self) -> EngineSettings:
        """The limits and switches in force."""
        return self._settings

    def pinned(self, at_ms: int) -> LocalEngine:
        """Return an engine over the same source that reads every selector as if `@ at_ms` stood on it."""
        return LocalEngine(
            self._source,
            self._settings,
            now_ms=self._now_ms,
            clock_s=self._clock_s,
            busy_s=self._busy_s,
            rewrite=lambda expr: pinned(self._rewrite(expr) if self._rewrite else expr, at_ms),
        )

    @property
    def load(self) -> tuple[int, int]:
        """How many queries run, and how many wait for a place."""
        return self._gate.running, self._gate.waiting

    def instant(self, query: str, at_ms: int | None = None) -> Answer:
        """Evaluate at one time, by default now. Raises QueryError."""
        when = self._now_ms() if at_ms is None else at_ms
        return self._guarded(lambda: self._placed(lambda turn: self._instant(query, when, turn)))

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Evaluate at start, start+step, ... <= end. Raises QueryError."""
        return self._guarded(
            lambda: self._placed(lambda turn: self._range(query, start_ms, end_ms, step_ms, turn))
        )

    def instant_at_once(self, query: str, at_ms: int) -> Answer | None:
        """Return what `instant` would, if that takes no reading and 2 ms at most; else None (see at_once.py)."""
        return self._at_once(query, partial(self._instant, query, at_ms))

    def range_at_once(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer | None:
        """Return what `range` would, on the same terms."""
        return self._at_once(query, partial(self._range, query, start_ms, end_ms, step_ms))

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Return the series that match any of the selectors, sorted. Raises QueryError."""
        return self._guarded(lambda: self._series(selectors, start_ms, end_ms))

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the label names of those series, sorted. Raises QueryError."""
        series = self.series(selectors, start_ms, end_ms)
        return tuple(sorted({name for labels in series for name, _ in labels}))

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the values of one label over those series, sorted. Raises QueryError."""
        series = self.series(selectors, start_ms, end_ms)
        return tuple(sorted({label.get(labels, name) for labels in series} - {""}))

    def metadata(self) -> tuple[Metadata, ...]:
        """Return what is known of each metric, sorted by name. Raises QueryError."""
        return self._guarded(lambda: tuple(self._source.metadata()))

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars of the series that match any of the selectors. Raises QueryError."""
        wanted = [tuple(each) for each in selectors]
        return self._guarded(lambda: self._source.exemplars(wanted, start_ms, end_ms))

    def _series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        if not selectors:
            return self._source.series((), start_ms, end_ms)
        if len(selectors) == 1:
            return self._source.series(tuple(selectors[0]), start_ms, end_ms)
        found = (self._source.series(tuple(each), start_ms, end_ms) for each in selectors)
        return tuple(sorted({labels for part in found for labels in part}))

    def _placed(self, work: Callable[[_Turn], T]) -> T:
        """Do the work of a query when there is a place for it.

        numpy says nothing of what PromQL takes for granted: x/0 and 0/0 have values, and so have overflows.
        """
        until_s = self._clock_s() + self._settings.deadline_s
        with (
            self._gate.place(until_s, self._clock_s, cancelled_now()),
            self._budget.share() as share,
            np.errstate(all="ignore"),
        ):
            return work(_Turn(until_s, share, self._fetcher, self._settings))

    def _at_once(self, query: str, work: Callable[[_Turn], Answer]) -> Answer | None:
        try:
            if len(query) > LENGTH_MAX or not self._prepared(query).light or not self._gate.enter_at_once():
                return None
        except QueryError:
            return None
        share = Share(self._budget)
        try:
            until_s = self._clock_s() + AT_ONCE_S
            busy_until_s = self._busy_s() + AT_ONCE_S
            left = partial(self._busy_before, busy_until_s)
            with np.errstate(all="ignore"):
                return work(_Turn(until_s, share, AtHand(self._fetcher), self._at_once_settings, left))
        except Exception:
            # Whatever it is: who can wait for the answer finds out and says so.
            return None
        finally:
            share.close()
            self._gate.leave()

    def _busy_before(self, until_s: float) -> bool:
        return self._busy_s() < until_s

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except QueryError:
            raise
        except MatcherError as error:
            raise ParseError(str(error)) from error
        except StoreError as error:
            raise UnavailableError(f"reading the store: {error}") from error
        except MemoryError as error:
            raise LimitError(
                "the query needs more memory than there is; narrow it, or take fewer steps"
            ) from error
        except Exception as error:
            raise ExecutionError(f"evaluating the query: {type(error).__name__}: {error}") from error

    def _prepared(self, query: str) -> Prepared:
        limit = self._settings.query_length_max
        if len(query) > limit:
            raise LimitError(
                f"a query may have at most {limit} characters, got {len(query)}; "
                "shorten it, or raise the engine's query_length_max"
            )
        return prepared(query) if self._rewrite is None else Prepared.of(self._rewrite(parse(query)))

    def _context(self, start_ms: int, end_ms: int, step_ms: int, turn: _Turn) -> Context:
        for what, at_ms in (("start", start_ms), ("end", end_ms)):
            if abs(at_ms) > TIME_MS_MAX:
                raise ParseError(f"{what} must lie within +-{TIME_MS_MAX} ms of 1970, got {at_ms}")
        lookback_ms = lookback_now()
        settings = turn.settings if lookback_ms is None else replace(turn.settings, lookback_ms=lookback_ms)
        return Context(
            turn.fetcher,
            settings,
            start_ms,
            end_ms,
            step_ms,
            self._clock_s,
            turn.until_s,
            self._clock_s(),
            cancelled_now(),
            turn.share,
            busy_left=turn.busy_left,
        )

    def _instant(self, query: str, at_ms: int, turn: _Turn) -> Answer:
        known = self._prepared(query)
        context = self._context(at_ms, at_ms, 0, turn)
        expr = resolve(known.expr, at_ms, at_ms, 0) if known.computed else known.expr
        grid = Grid(at_ms, 1, 1)
        context.narrow = known.narrow
        if known.planned:
            plan(expr, grid, context)
        value: Value
        if isinstance(expr, ir.RangeSelector | ir.Subquery):
            windows = range_argument(expr, grid, context)
            value = to_ragged(outlined(windows, context) if windows.extension else windows)
            points = sum(map(len, value.timestamps)) + sum(map(len, value.histograms))
            context.check_points(points)
        else:
            found = evaluate(expr, grid, context)
            if isinstance(found, Text):
                value = String(at_ms, found.value)
            elif isinstance(found, Scalars):
                value = Scalar(at_ms, float(found.values[0]))
            else:
                context.check_points(len(found))
                value = to_vector(finished(found), at_ms)
        return context.answer(value)

    def _range(self, query: str, start_ms: int, end_ms: int, step_ms: int, turn: _Turn) -> Answer:
        if step_ms <= 0:
            raise ParseError(f"step must be positive, got {step_ms} ms")
        if end_ms < start_ms:
            raise ParseError(f"end must not be before start, got start {start_ms} ms and end {end_ms} ms")
        steps = (end_ms - start_ms) // step_ms + 1
        # Prometheus counts the steps, not the points at their ends.
        limit = self._settings.points_per_series_max
        if steps - 1 > limit:
            raise LimitError(
                f"a range query may have at most {limit} steps, got {steps - 1}; "
                f"take a step of at least {-(-(end_ms - start_ms) // limit)} ms"
            )
        known = self._prepared(query)
        expr = known.expr
        if expr.type not in (ir.ValueType.SCALAR, ir.ValueType.VECTOR):
            raise ParseError(
                f"a range query needs a scalar or an instant vector at every step, got a {expr.type}; "
                "put a function such as rate() around a range vector"
            )
        context = self._context(start_ms, end_ms, step_ms, turn)
        if known.computed:
            expr = resolve(expr, start_ms, end_ms, step_ms)
        grid = Grid(start_ms, step_ms, steps)
        context.narrow = known.narrow
        if known.planned:
            plan(expr, grid, context)
        found = evaluate(expr, grid, context)
        if isinstance(found, Scalars):
            found = Block.of_row((), found.values, np.ones(steps, np.bool_))
        assert isinstance(found, Block)
        done = finished(found)
        context.check_points(int(np.count_nonzero(done.exists)))
        value = to_matrix(done, grid)
        return context.answer(value)
