"""Documents with anything anywhere: an answer or an error of ours in words, never a crash."""

import copy
import datetime as dt

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_analytics import pricebook, sla
from ninesight_analytics.errors import AnalyticsError

BOOK = {
    "entries": [
        {
            "id": "a",
            "gpu_model": ".*",
            "instance": "x",
            "simulated": True,
            "gpu_count": 8,
            "purchase": "spot",
            "currency": "USD",
            "price_per_hour": "1.5",
            "per": "gpu",
            "valid_from": dt.date(2026, 1, 1),
            "valid_to": "2027-01-01T00:00:00Z",
            "source_url": "https://example.org",
        }
    ]
}
SLO = {
    "apiVersion": "openslo/v1",
    "kind": "SLO",
    "metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {"ninesight/customer": "Acme"}},
    "spec": {
        "service": "s",
        "timeWindow": [
            {"duration": "1M", "isRolling": False, "calendar": {"startTime": "2026-01-01", "timeZone": "UTC"}}
        ],
        "budgetingMethod": "Occurrences",
        "ninesight": {
            "model": "m",
            "minimum_requests": 5,
            "exclude_outcomes": ["cancelled"],
            "burn_windows": [{"long": "1h", "short": "5m", "factor": 14.4, "for": "1m"}],
        },
        "objectives": [
            {"displayName": "a", "target": 0.99, "ninesight": {"kind": "availability"}},
            {"displayName": "b", "targetPercent": 99, "ninesight": {"kind": "latency", "threshold": "250ms"}},
        ],
    },
}
INDICATOR = {
    "apiVersion": "openslo/v1",
    "kind": "SLO",
    "metadata": {"name": "b"},
    "spec": {
        "service": "s",
        "indicator": {
            "spec": {
                "ratioMetric": {
                    "counter": True,
                    "good": {"metricSource": {"spec": {"query": "good_total"}}},
                    "total": {"metricSource": {"spec": {"query": "sum(rate(x_total[{{.window}}]))"}}},
                }
            }
        },
        "timeWindow": [{"duration": "30d"}],
        "budgetingMethod": "Occurrences",
        "objectives": [{"target": 0.99}],
    },
}
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=12),
    st.sampled_from(
        ["1M", "5m", "0", "-1", "1e999", ".*", "{{.window}}", "a{", "[", "now", "99999d", "é" * 300]
    ),
    st.dates(),
    st.just([]),
    st.just({}),
    st.just([[{"a": 1}]]),
)


def places(document, path=()):
    """Every place in a document."""
    found = [path] if path else []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        inner = (*path, key)
        found += places(value, inner) if isinstance(value, dict | list) else [inner]
    return found


def replaced(document, path, value):
    """A copy with one place changed."""
    changed = copy.deepcopy(document)
    here = changed
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("load", "document"), [(pricebook.load, BOOK), (sla.load, SLO), (sla.load, INDICATOR)]
)
def test_one_wrong_value_anywhere_is_never_a_crash(load, document):
    """The unchanged document is valid; with any value in any place it is, or it is refused in words."""
    load(yaml.safe_dump(document))

    @settings(max_examples=150, deadline=None)
    @given(path=st.sampled_from(places(document)), value=anything)
    def check(path, value):
        text = yaml.safe_dump(replaced(document, path, value), allow_unicode=True)
        try:
            loaded = load(text)
        except AnalyticsError:
            return
        if load is sla.load:
            assert all(sla.burn_rules(one)["name"] == f"sla/{one.name}" for one in loaded)

    check()


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_never_a_crash(text):
    """YAML or not."""
    for load in (pricebook.load, sla.load):
        with pytest.raises(AnalyticsError):
            load(f"{text}\n")
