"""Panels are data, so they are checked as data."""

import re

import pytest
from ninesight_dashboards.errors import PanelError
from ninesight_dashboards.panel import Panel, Query, quoted, scope_of
from ninesight_dashboards.panels import ALL, MODEL, OVERVIEW, panel
from ninesight_query import parse

CANONICAL = {
    "model_requests_total",
    "model_request_duration_seconds",
    "model_stage_duration_seconds",
    "model_batch_size",
    "model_requests_in_flight",
    "model_queue_depth",
    "gpu_utilization_ratio",
    "gpu_memory_used_bytes",
    "gpu_memory_total_bytes",
}


@pytest.mark.parametrize("shown", ALL, ids=lambda shown: shown.id)
@pytest.mark.parametrize("model", [None, "ranker", 'a"b\\c\nd'])
def test_every_query_parses(shown, model):
    """Each expression is PromQL, whatever the model is called."""
    for query in shown.queries:
        parse(query.text(60, scope_of(model)))


@pytest.mark.parametrize("shown", ALL, ids=lambda shown: shown.id)
def test_every_query_reads_what_its_panel_declares(shown):
    """A panel names canonical metrics, and reads exactly those."""
    text = " ".join(query.expr for query in shown.queries)
    named = set(re.findall(r"\b(?:model|gpu)_[a-z_]+", text))
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert named == set(shown.metrics) <= CANONICAL


def test_ids_are_unique_and_help_is_there():
    """No id repeats; the help names a metric and is a sentence."""
    assert len({shown.id for shown in ALL}) == len(ALL)
    for shown in OVERVIEW + MODEL:
        assert shown.help.endswith(".")
        assert len(shown.help) > 60
        assert any(metric in shown.help for metric in shown.metrics)
        assert panel(shown.id) is shown


def test_a_percentile_is_never_summed_or_averaged():
    """What is not drawn of a latency panel is counted, not rolled up."""
    for shown in ALL:
        if any("histogram_quantile" in query.expr for query in shown.queries):
            assert shown.rest == "none"


@pytest.mark.parametrize(
    "broken", [{"id": "Bad Id"}, {"help": ""}, {"queries": ()}, {"metrics": ()}, {"unit": ""}]
)
def test_a_wrong_panel_fails_at_once(broken):
    """A declaration that lacks something never reaches a browser."""
    whole = {
        "id": "fine",
        "title": "t",
        "help": "h.",
        "queries": (Query("up"),),
        "metrics": ("up",),
        "unit": "s",
    }
    with pytest.raises(PanelError, match=r"must (match|have)"):
        Panel(**{**whole, **broken})


def test_label_values_cannot_leave_their_quotes():
    """A model's name is data, also where it holds quotes, backslashes and line ends."""
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
