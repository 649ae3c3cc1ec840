"""Our grammar beside a real Prometheus: it refuses what we refuse, and lays out what we both accept as we do."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from ninesight_query import prettify
from ninesight_query.errors import ParseError
from ninesight_query.testing_servers import running_prometheus

TEXTS = Path(__file__).parent / "texts"
NAME = "a_rather_long_metric_name_total"
LONG = [
    f"sum by (instance) (rate({NAME}{{label_one='value'}}[5m])) / on (instance) group_left (x) {NAME} > bool 1",
    f"(topk(5, -{NAME}{{label='x'}} offset 5m) > bool 1) or vector({'1 + ' * 40} 1)",
    f"histogram_quantile(0.99, sum by (le, model, version) (rate({NAME}{{model='a', outcome!='error'}}[5m])))",
    "(" * 5 + f"{NAME} + {NAME} - {NAME} + {NAME}" + ")" * 5,
    "+".join([NAME] * 9),
    "-" + "^".join([NAME] * 9),
    f"count_values without (a, b) ('x', label_replace({NAME}, 'one', 'two', 'three', '(.*)') + {NAME}) - 1",
    f"quantile_over_time(0.5, {NAME}{{a='b', c='d', e='f', g='h', i='j', k='l', m='n'}}[1h:5m] @ 7)",
]


def lines(name):
    for line in (TEXTS / f"{name}.txt").read_text().splitlines():
        quoted = line.startswith(('"', "'", "`"))
        yield line if quoted else line.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


@pytest.fixture
def prometheus(real, tmp_path):
    """The address of a real one."""
    with running_prometheus(real("prometheus"), tmp_path) as address:
        yield address


def formatted(address, query):
    """What the real one makes of a query; None where it refuses."""
    data = urllib.parse.urlencode({"query": query}).encode()
    try:
        with urllib.request.urlopen(f"{address}/api/v1/format_query", data, timeout=20) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        with error:
            return None if json.load(error)["errorType"] == "bad_data" else "another error"


def ours(query):
    try:
        return prettify(query)
    except ParseError:
        return None


def spelled_alike(text):
    """The text with numbers spelled without exponents, as Prometheus 3 does and 2 does not.

    Both leave a subquery among arguments without its indentation; ours has it.
    """
    text = text and re.sub(r"\n(?=\w.*\[.*:.*\].*\n\))", "\n  ", text)

    def plain(match):
        return prettify(match.group())

    return text and re.sub(r"(?<![\w.])\d+(?:\.\d+)?e[+-]\d+", plain, text)


@pytest.mark.parametrize("name", ["valid", "invalid"])
def test_the_real_one_judges_alike(prometheus, name):
    """Every query of the lists is accepted by both or by none, and laid out in the same way."""
    different = {}
    for query in [*lines(name), *(LONG if name == "valid" else ())]:
        theirs = spelled_alike(formatted(prometheus, query))
        if theirs != ours(query) or (theirs is None) != (name == "invalid"):
            different[query] = (theirs, ours(query))
    assert not different
