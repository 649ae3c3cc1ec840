"""`/api/v1/targets`, `targets/metadata` and `scrape_pools`, as Prometheus answers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from ninesight_collector.contract import TargetView
from ninesight_query.encode import encode_success
from ninesight_query.errors import ParseError
from ninesight_query.http.handler import Answering
from ninesight_query.http.params import Params
from ninesight_query.parse import parse_matchers
from ninesight_store.contract import Matcher
from ninesight_store.matchers import compile_matchers, labels_match

from ninesight_suite.active_targets import scraped, targets_body

__all__ = ["target_answers"]


def target_answers(targets: Callable[[], Sequence[TargetView]]) -> dict[str, Answering]:
    """Return the answering function of each path below `/api/v1/`."""
    return {
        "targets": lambda asked: _targets(targets(), asked.params),
        "targets/metadata": lambda asked: _metadata(targets(), asked.params),
        "scrape_pools": lambda _: _pools(targets()),
    }


def _targets(found: Sequence[TargetView], params: Params) -> bytes:
    return targets_body(found, params.first("state").lower(), params.first("scrapePool"))


def _metadata(found: Sequence[TargetView], params: Params) -> bytes:
    """Answer with what targets said of their metrics; `match_target` picks targets, `metric` one metric."""
    limit, metric = params.whole("limit", -1), params.first("metric")
    matchers = compile_matchers(_matchers(params.first("match_target")))
    rows = []
    for view in scraped(found):
        if not labels_match(matchers, view.labels):
            continue
        for entry in view.metadata:
            if metric in ("", entry.metric):
                named = {} if metric else {"metric": entry.metric}
                told = {"type": entry.kind, "help": entry.help, "unit": entry.unit}
                rows.append({"target": dict(view.labels), **named, **told})
    return encode_success(orjson.dumps(rows[:limit] if limit >= 0 else rows))


def _matchers(text: str) -> tuple[Matcher, ...]:
    if not text:
        return ()
    try:
        return parse_matchers(text)
    except ParseError as error:
        raise ParseError(f'invalid parameter "match_target": {error}') from error


def _pools(found: Sequence[TargetView]) -> bytes:
    names = sorted({view.name for view in scraped(found)})
    return encode_success(orjson.dumps({"scrapePools": names}))
