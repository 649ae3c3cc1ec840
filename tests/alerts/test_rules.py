"""Prometheus rule files: what is read, and what is refused with which words."""

import pytest
from ninesight_alerts import RuleError, check_rules, load_rules, rules_from_mapping, rules_from_text

FILE = """
groups:
  - name: latency
    interval: 30s
    limit: 20
    query_offset: 5s
    labels: {team: ml}
    rules:
      - record: model:latency:p99
        expr: histogram_quantile(0.99, sum by (le, model) (rate(d_bucket[5m])))
      - alert: TooSlow
        expr: |
          model:latency:p99 > 0.5
        for: 5m
        keep_firing_for: 1h30m
        labels:
          severity: 1
          noisy: no
          team: other
        annotations:
          summary: "{{ $labels.model }} takes {{ $value | humanizeDuration }}"
  - name: empty
"""


def test_a_rule_file_is_read_as_prometheus_reads_it():
    """Every key has its meaning; group labels are given to each rule; scalars stay as written."""
    first, second = rules_from_text(FILE, interval_ms=15_000, file="a.yml")
    assert (first.name, first.interval_ms, first.limit, first.query_offset_ms, first.file) == (
        "latency", 30_000, 20, 5_000, "a.yml",
    )  # fmt: skip
    assert (second.name, second.interval_ms, second.rules) == ("empty", 15_000, ())
    record, alert = first.rules
    assert (record.kind, record.name, dict(record.labels)) == (
        "recording",
        "model:latency:p99",
        {"team": "ml"},
    )
    assert (alert.kind, alert.for_ms, alert.keep_firing_for_ms) == ("alerting", 300_000, 5_400_000)
    assert dict(alert.labels) == {"severity": "1", "noisy": "no", "team": "other"}
    assert alert.expr == "model:latency:p99 > 0.5\n"


def one(**rule):
    return {"groups": [{"name": "g", "rules": [rule]}]}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "rules: must be a mapping with the keys groups, got list"),
        ({"group": []}, "rules: unknown key 'group'; known are groups"),
        ({"groups": {}}, "rules: groups: must be a list, got dict"),
        ({"groups": [{"rules": []}]}, "rules: group 1: name must be set"),
        ({"groups": [{"name": "a"}, {"name": "a"}]}, "group names must be unique in a file, 'a' occurs twice"),
        ({"groups": [{"name": "a", "interval": "soon"}]}, "rules: group 'a': interval: a duration is written like"),
        ({"groups": [{"name": "a", "interval": "1ms"}]}, "interval must be at least 100ms, got 1ms"),
        ({"groups": [{"name": "a", "limit": -1}]}, "limit must be a whole number, 0 for no limit, got '-1'"),
        (one(expr="up"), "group 'g', rule 1: exactly one of alert and record must be set, got neither"),
        (one(alert="A", record="b", expr="up"), "exactly one of alert and record must be set, got both"),
        (one(alert="A"), "group 'g', rule 'A': expr must be set"),
        (one(alert="A", expr="up ==="), "group 'g', rule 'A': expr must be PromQL, got 'up ==='"),
        (one(alert="A", expr="up", fro="5m"), "unknown key 'fro'; known are alert, expr, for"),
        (one(alert="A", expr="up", **{"for": "5"}), "group 'g', rule 'A': for: a duration is written like"),
        (one(alert="A", expr="up", labels={"a-b": "c"}), "labels must have names like [a-zA-Z_][a-zA-Z0-9_]*, got 'a-b'"),
        (one(alert="A", expr="up", labels={"__name__": "c"}), "labels must have names like"),
        (one(alert="A", expr="up", annotations=["x"]), "annotations must be a mapping of texts, got list"),
        (one(alert="A", expr="up", annotations={"x": {}}), "annotations.x: must be a text, got dict"),
        (one(record="a b", expr="up"), "record must be a metric name"),
        (one(record="a", expr="up", **{"for": "5m"}), "group 'g', rule 'a': unknown key 'for'; known are record, expr, labels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(document, says):
    """File, group, rule and key stand in the message."""
    with pytest.raises(RuleError) as caught:
        rules_from_mapping(document)
    assert says in str(caught.value)


def test_a_key_may_occur_once():
    """YAML readers keep the last of two equal keys in silence; here it is an error with its line."""
    with pytest.raises(RuleError, match="key 'name' occurs twice"):
        rules_from_text("groups:\n- name: a\n  name: b\n")


@pytest.mark.parametrize(
    "text", ["groups: [", "\x00", "groups: !!python/object/apply:os.system [ls]", "a: &a [*a]"]
)
def test_what_is_no_yaml_is_refused(text):
    """Broken YAML and YAML that would make objects are refused, not run."""
    with pytest.raises(RuleError):
        rules_from_text(text)


def test_depth_is_bounded():
    """Absurd nesting is an error, not a crash."""
    with pytest.raises(RuleError, match="must not nest this deep"):
        rules_from_text("[" * 5_000 + "]" * 5_000)


def test_files_are_found_by_pattern_and_named_in_errors(tmp_path):
    """A pattern gives its files in order; a missing plain file is an error."""
    (tmp_path / "b.yml").write_text("groups: [{name: b}]")
    (tmp_path / "a.yml").write_text("groups: [{name: a}]")
    groups = load_rules([str(tmp_path / "*.yml")], interval_ms=1000)
    assert [group.name for group in groups] == ["a", "b"]
    with pytest.raises(RuleError, match=r"missing\.yml: a rule file must be readable, got No such file"):
        load_rules([tmp_path / "missing.yml"], interval_ms=1000)
    (tmp_path / "a.yml").write_text("groups: [{name: a, rules: 7}]")
    with pytest.raises(RuleError, match=r"a\.yml: group 'a': rules: must be a list"):
        load_rules([tmp_path / "a.yml"], interval_ms=1000)


def test_check_rules_lists_templates_that_cannot_be_read(tmp_path):
    """They do not stop a rule from working, so they are warnings with their place."""
    (tmp_path / "a.yml").write_text(
        'groups: [{name: g, rules: [{alert: A, expr: up, annotations: {good: "{{ $value }}", bad: "{{ nope }}"}}]}]'
    )
    (warning,) = check_rules([tmp_path / "a.yml"])
    assert warning.endswith("a.yml: group 'g', rule 'A', annotations.bad: function 'nope' is not defined")


def test_a_rule_keeps_its_key_when_its_file_moves_or_its_expression_changes():
    """The key is made of group, name and labels; twins are told apart by order."""
    text = "groups: [{name: g, rules: [{alert: A, expr: up}, {alert: A, expr: up}, {alert: A, expr: up, labels: {x: y}}]}]"
    keys = [rule.key for rule in rules_from_text(text, file="a")[0].rules]
    other = [rule.key for rule in rules_from_text(text.replace("expr: up", "expr: down"), file="b")[0].rules]
    assert keys == other
    assert len(set(keys)) == 3
