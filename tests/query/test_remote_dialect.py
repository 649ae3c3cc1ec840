"""A query in the words of another server: what it lacks is said otherwise, all else is left as it is."""

import pytest
from ninesight_query.parse import parse, prettify
from ninesight_query.remote.dialect import METRICSQL, NO_AVERAGE, worded


def said(query, wording):
    """The query as it is sent, on one line."""
    return " ".join(prettify(worded(parse(query), wording)).split())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("histogram_avg(m)", "histogram_sum(m) / histogram_count(m)"),
        (
            "max_over_time(histogram_avg(m)[5m:1m] offset 1m) > 2",
            "max_over_time((histogram_sum(m) / histogram_count(m))[5m:1m] offset 1m) > 2",
        ),
        (
            "-sum by (a) (histogram_avg(rate(m[5m])))",
            "-sum by (a) (histogram_sum(rate(m[5m])) / histogram_count(rate(m[5m])))",
        ),
    ],
)
def test_an_average_is_sum_over_count_for_an_older_prometheus(query, words):
    """Wherever it stands."""
    assert said(query, NO_AVERAGE) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "1 - histogram_fraction(0, 0.05, sum by (le) (rate(b[1m])))",
            "1 - histogram_share(0.05, sum by (le) (rate(b[1m])))",
        ),
        ("histogram_fraction(0.1, 0.2, b)", "histogram_share(0.2, b) - histogram_share(0.1, b)"),
        ("histogram_count(m) or m_count", "m unless m or m_count"),
        ("topk(3, histogram_sum(m))", "topk(3, m unless m)"),
    ],
)
def test_metricsql_asks_classic_buckets_and_has_no_native_histogram(query, words):
    """A fraction is a share of buckets; what only native histograms answer is nothing."""
    assert said(query, METRICSQL) == words


@pytest.mark.parametrize(
    "query", ["histogram_quantile(0.9, m)", "sum(rate(m[5m])) by (a)", "1", "'text'", "m @ end()"]
)
@pytest.mark.parametrize("wording", [NO_AVERAGE, METRICSQL, {}])
def test_everything_else_is_the_same_tree(query, wording):
    """Nothing is copied, so the query is sent as it was written."""
    tree = parse(query)
    assert worded(tree, wording) is tree
