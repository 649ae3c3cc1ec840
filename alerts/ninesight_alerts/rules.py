"""Rules as values: what a Prometheus rule file says, checked and ready to evaluate.

A rule keeps its `key` over restarts: it is made of group, name and static labels, not of the
file's path, so alert states survive a move of the file and a change of the expression.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ninesight_alerts.step import StepSettings

__all__ = ["Rule", "RuleGroup", "keyed"]


@dataclass(frozen=True)
class Rule:
    """One alerting or recording rule."""

    name: str
    """The alert's name, or the metric a recording rule writes."""
    kind: str
    """alerting or recording."""
    expr: str
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    """The group's labels included; the rule's own win. Values may be templates in alerting rules."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    """16 hexadecimal digits, unique over all loaded rules; set by `keyed`."""


@dataclass(frozen=True)
class RuleGroup:
    """Rules that are evaluated one after the other, at the same times."""

    name: str
    rules: tuple[Rule, ...]
    interval_ms: int
    limit: int = 0
    query_offset_ms: int = 0
    """Rules are asked at the evaluation time minus this."""
    file: str = ""

    def settings(self, rule: Rule) -> StepSettings:
        """Return what `step` needs for one of the group's rules."""
        return StepSettings(rule.for_ms, rule.keep_firing_for_ms, self.limit)


def keyed(groups: Iterable[RuleGroup]) -> tuple[RuleGroup, ...]:
    """Return the groups with a unique key in every rule; twins are told apart by their order."""
    seen: Counter[str] = Counter()
    return tuple(replace(group, rules=_keyed(group, seen)) for group in groups)


def _keyed(group: RuleGroup, seen: Counter[str]) -> tuple[Rule, ...]:
    rules = []
    for rule in group.rules:
        identity = json.dumps([group.name, rule.kind, rule.name, sorted(rule.labels.items())])
        seen[identity] += 1
        digest = hashlib.sha256(f"{identity}{seen[identity]}".encode()).hexdigest()
        rules.append(replace(rule, key=digest[:16]))
    return tuple(rules)
