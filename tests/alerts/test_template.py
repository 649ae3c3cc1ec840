"""Templates of labels and annotations: a table of what rule files contain."""

import json
import re
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts.template import TemplateData, expand

SAMPLES = [((("model", "a"), ("zone", "2")), 3.0), ((("model", "b"), ("zone", "1")), 5.5)]

DATA = TemplateData(
    {"model": "m1", "instance": "gpu-1.example.org:9100", "__name__": "watched"},
    1234.5678,
    {"region": "eu"},
    "https://watch.example/base",
    lambda query: SAMPLES if query == "up" else [],
)


TABLE = [
    ("plain", "plain"),
    ("{{ $labels.model }} is at {{ $value }}", "m1 is at 1234.5678"),
    ("{{.Labels.model}}/{{ .Value }}/{{ $.Labels.model }}", "m1/1234.5678/m1"),
    ("{{ $labels.missing }}|", "|"),
    ("{{ $externalLabels.region }} {{ $externalURL }} {{ externalURL }}{{ pathPrefix }}",
     "eu https://watch.example/base https://watch.example/base/base"),
    ("{{ $labels }}", "map[__name__:watched instance:gpu-1.example.org:9100 model:m1]"),
    ('a {{- " b " -}}   c', "a b c"),
    ('x{{/* said "nothing" */}}y', "xy"),
    ('{{ "a\\tb" }}{{ `raw\\n` }}', "a\tbraw\\n"),
    # numbers
    ("{{ $value | humanize }} {{ humanize 0.00123 }} {{ humanize 0.0 }}", "1.235k 1.23m 0"),
    ("{{ humanize1024 1048576 }} {{ humanize1024 0.5 }}", "1Mi 0.5"),
    ("{{ humanizeDuration 93784 }}, {{ humanizeDuration 61.0 }}, {{ humanizeDuration 0.0042 }}, {{ humanizeDuration -3700 }}",
     "1d 2h 3m 4s, 1m 1s, 4.2ms, -1h 1m 40s"),
    ("{{ humanizePercentage 0.12345 }} {{ humanizeTimestamp 1435065584.128 }}",
     "12.35% 2015-06-23 13:19:44.128 +0000 UTC"),
    ('{{ printf "%.1f %s" $value .Labels.model }} {{ $value | printf "%.0f" }}', "1234.6 m1 1235"),
    ('{{ humanize "1e3" }}', "1k"),
    ("{{ 0x10 }} {{ -3 }} {{ 1e3 }}", "16 -3 1000"),
    ("{{ 1000000.0 }} {{ 1e21 }} {{ 0.00001 }} {{ 123456789.0 }} {{ 100.0 }}", "1e+06 1e+21 1e-05 1.23456789e+08 100"),
    ('{{ printf "%d %s %5.1f|%-4d|%x %q %t %e" 3.5 1.5 2.25 7 255 "a" true 1500.0 }}',
     '%!d(float64=3.5) %!s(float64=1.5)   2.2|7   |ff "a" true 1.500000e+03'),
    ('{{ printf "%d" }} {{ printf "x" 1 }} {{ printf "%v" $labels }} {{ printf "%%" }}',
     "%!d(MISSING) x%!(EXTRA int=1) map[__name__:watched instance:gpu-1.example.org:9100 model:m1] %"),
    ("{{ humanize -1234567.0 }} {{ humanize 1e30 }} {{ humanize1024 -2048.0 }} {{ humanizeDuration 0.0 }} {{ humanizeDuration 1.2345678 }}",
     "-1.235M 1e+06Y -2ki 0s 1.235s"),
    ('{{ not 0 }} {{ not "" }} {{ and 1 2 }} {{ or 0 "" }}|{{ len $labels }} {{ eq "a" "b" }} {{ eq 1.5 1.5 }}', "true true 2 |3 false true"),
    # texts
    ('{{ title "hello big world" }} {{ toUpper "a" }}{{ "B" | toLower }}', "Hello Big World Ab"),
    ('{{ reReplaceAll "(.*):.*" "$1" $labels.instance }}', "gpu-1.example.org"),
    ('{{ $labels.instance | reReplaceAll "^([^.]+).*$" "<${1}>" }}', "<gpu-1>"),
    ('{{ match "gpu-[0-9]" $labels.instance }} {{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}',
     "true gpu-1.example.org gpu-1:9100"),
    ('{{ reReplaceAll "a(.)" "$1x" "abac" }}|{{ reReplaceAll "a(.)" "${1}x" "abac" }}|{{ reReplaceAll "a" "$$" "a" }}', "|bxcx|$"),
    ('{{ title "it is o\'clock a-b c_d" }} {{ stripPort "[::1]:80" }} {{ stripDomain "10.0.0.1:80" }} {{ stripDomain "a.b" }}',
     "It Is O'Clock A-B C_d ::1 10.0.0.1:80 a"),
    ('{{ graphLink "up == 0" }} {{ tableLink "up" }}', "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1"),
    ('{{ urlquery "a b" }} {{ len "abc" }} {{ index $labels "model" }} {{ print 1 2 "x" }}', "a+b 3 m1 1 2x"),
    ('{{ parseDuration "1h30m" }} {{ (args 1 "b").arg1 }}', "5400 b"),
    # logic
    ("{{ if gt $value 1000.0 }}high{{ else }}low{{ end }}", "high"),
    ('{{ if lt $value 1000.0 }}a{{ else if eq $labels.model "x" "m1" }}b{{ else }}c{{ end }}', "b"),
    ('{{ if and $labels.model (not $labels.missing) }}yes{{ end }}{{ or $labels.missing "none" }}', "yesnone"),
    ('{{ eq 1 1 }} {{ ne "a" "b" }} {{ le 2 2 }} {{ ge 1.5 2.5 }}', "true true true false"),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
    ("{{ with $labels.missing }}a{{ else }}b{{ end }}{{ with $m := .Labels.model }}{{ . }}{{ $m }}{{ end }}", "bm1m1"),
    # queries
    ('{{ with query "up" }}{{ . | sortByLabel "model" | first | value | humanize }}{{ end }}', "3"),
    ('{{ with query "nothing" }}a{{ else }}none{{ end }}', "none"),
    ('{{ range query "up" | sortByLabel "model" }}{{ .Labels.model }}={{ .Value }} {{ end }}', "a=3 b=5.5 "),
    ('{{ range $i, $s := query "up" | sortByLabel "zone" }}{{ $i }}{{ label "model" $s }}{{ end }}', "0b1a"),
    ('{{ range query "up" | sortByLabel "model" }}{{ if eq .Labels.model "b" }}{{ break }}{{ end }}{{ .Value }}{{ end }}', "3"),
    ('{{ range query "up" | sortByLabel "model" }}{{ if eq .Labels.model "a" }}{{ continue }}{{ end }}{{ .Value }}{{ end }}', "5.5"),
    ('{{ (query "up" | sortByLabel "model" | first).Labels.zone }}', "2"),
    ('{{ range query "none" }}x{{ else }}empty{{ end }}', "empty"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_what_rule_files_contain_is_filled(text, expected):
    """The functions, pipes, conditions, loops and queries that rule files use."""
    assert expand(text, DATA) == expected


def test_prometheus_fills_the_same(tmp_path, real):
    """promtool expands every template of the table to the same text, but for those that only a running server has."""
    promtool = real("promtool")
    shared = [row for row in TABLE if not re.search(r"\bexternalURL\b|pathPrefix", row[0])]
    annotations = {f"t{at:03d}": text for at, (text, _) in enumerate(shared)}
    rule = {"alert": "A", "expr": "watched", "annotations": annotations}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    wanted = {
        "exp_labels": {name: text for name, text in DATA.labels.items() if name != "__name__"},
        "exp_annotations": {f"t{at:03d}": text for at, (_, text) in enumerate(shared)},
    }
    series = {
        'watched{model="m1", instance="gpu-1.example.org:9100"}': 1234.5678,
        'up{model="a", zone="2"}': 3,
        'up{model="b", zone="1"}': 5.5,
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x2"} for name, value in series.items()],
        "external_labels": dict(DATA.external_labels),
        "external_url": DATA.external_url,
        "alert_rule_test": [{"eval_time": "1m", "alertname": "A", "exp_alerts": [wanted]}],
    }
    (tmp_path / "tests.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [case]}))
    result = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ $value", "closed by }}"),
        ("{{ unknown 1 }}", "function 'unknown' is not defined"),
        ("{{ $nope }}", "undefined variable $nope"),
        ("{{ if true }}x", "{{ if }} is closed by {{ end }}"),
        ("{{ end }}", "unexpected {{ end }}"),
        ("{{ break }}", "outside a range"),
        ('{{ template "x" }}', "not supported"),
        ("{{ gt $value 1 }}", "incompatible types"),
        ('{{ humanize "abc" }}', "a number is needed"),
        ("{{ first 3 }}", "first() needs"),
        ('{{ query "none" | first }}', "no elements"),
        ('{{ reReplaceAll "(" "" "x" }}', "not valid"),
        ("{{ toUpper 1 2 }}", "does not take"),
        ("{{ $value.x }}", "can't evaluate field x"),
        ("{{ 1 | 2 }}", "a pipe leads into a function"),
        ("{{ humanize }}", "does not take"),
        ("{{ }}", "unexpected the end"),
        ("{{ ; }}", "unexpected ';"),
        ('{{ "\\z" }}', "escape"),
        ("{{ range $value }}{{ end }}", "range can't iterate"),
    ],
)
def test_a_bad_template_becomes_text(text, says):
    """Whatever is wrong, the alert keeps a text that says it."""
    filled = expand(text, DATA)
    assert filled.startswith("<error expanding template: ")
    assert says in filled


def test_a_query_that_raises_becomes_text():
    """An engine error inside a template is text too."""

    def broken(_query):
        raise ValueError("engine is away")

    assert "engine is away" in expand("{{ query `up` }}", TemplateData({}, 1.0, query=broken))


def test_work_and_output_are_bounded():
    """Nested loops and huge outputs end with an error, soon."""
    many = TemplateData({}, 1.0, query=lambda _query: [((), 1.0)] * 1000)
    loop = "{{ range query `a` }}{{ range query `b` }}x{{ end }}{{ end }}"
    started = time.process_time()
    assert "at most 10 queries" in expand(loop, many)
    loop = "{{ $q := query `a` }}{{ range $q }}{{ range $q }}x{{ end }}{{ end }}"
    assert "at most 20000 steps" in expand(loop, many)
    assert "at most 65536 characters" in expand("{{ range query `a` }}" + "x" * 100 + "{{ end }}", many)
    assert "nest at most" in expand("{{ if true }}" * 100 + "{{ end }}" * 100, many)
    assert "nest at most" in expand("{{ " + "(" * 100 + "1" + ")" * 100 + " }}", many)
    assert "at most 16384 characters" in expand("{{" + "x" * 20_000, many)
    assert time.process_time() - started < 5


@settings(deadline=None)
@given(st.text(alphabet='{}$.|()"`- \nabrangeifwthqudx0123456789:=,/*\\', max_size=60))
def test_no_text_makes_expand_raise(text):
    """Any characters give some text."""
    assert isinstance(expand(text, DATA), str)


@settings(deadline=None)
@given(st.text(max_size=50).filter(lambda text: "{{" not in text))
def test_text_without_actions_stands_for_itself(text):
    """Nothing but actions is touched."""
    assert expand(text, DATA) == text
