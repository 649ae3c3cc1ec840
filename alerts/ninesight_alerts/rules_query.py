"""What `/api/v1/rules` may be asked: which rules, with or without their alerts, how many groups at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ninesight_query.errors import QueryError
from ninesight_query.label_filter import LabelFilter
from starlette.datastructures import QueryParams

from ninesight_alerts.contract import RuleView

__all__ = ["RulesQuery", "RulesQueryError", "page_of"]

_KINDS = {"": "", "alert": "alerting", "record": "recording"}
_SWITCH = {"": False} | dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
_SWITCH |= dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)


class RulesQueryError(ValueError):
    """A parameter is not as it must be."""


@dataclass(frozen=True, slots=True)
class RulesQuery:
    """One question; an empty set asks for everything."""

    kind: str = ""
    """alerting, recording, or "" for both."""
    names: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    labels: LabelFilter = field(default_factory=LabelFilter)
    """Asked of the labels as the rule file has them, templates unfilled."""
    exclude_alerts: bool = False
    group_limit: int = 0
    """Groups of one answer; 0 is all."""
    next_token: str = ""
    """Of the group that the answer begins with; "" is the first."""

    @classmethod
    def of(cls, params: QueryParams) -> Self:
        """Read it from a request. Raises RulesQueryError in Prometheus' cases."""
        kind = params.get("type", "").lower()
        if kind not in _KINDS:
            raise RulesQueryError(f'invalid parameter "type": it must be alert or record, got {kind[:80]!r}')
        switch = params.get("exclude_alerts", "")
        if switch not in _SWITCH:
            raise RulesQueryError(
                f'invalid parameter "exclude_alerts": it must be true or false, got {switch[:80]!r}'
            )
        limit, token = params.get("group_limit", ""), params.get("group_next_token", "")
        if token and not limit:
            raise RulesQueryError(
                'invalid parameter "group_limit": it must be given to page over the groups; '
                "add the limit of the page before"
            )
        if limit and not (limit.isascii() and limit.isdigit() and int(limit[:18]) > 0):
            raise RulesQueryError(
                f'invalid parameter "group_limit": it must be a number above 0, got {limit[:80]!r}'
            )
        try:
            labels = LabelFilter.of(params.getlist("match[]"))
        except QueryError as error:
            raise RulesQueryError(f'invalid parameter "match[]": {error}') from error
        return cls(
            _KINDS[kind],
            labels=labels,
            names=frozenset(params.getlist("rule_name[]")),
            groups=frozenset(params.getlist("rule_group[]")),
            files=frozenset(params.getlist("file[]")),
            exclude_alerts=_SWITCH[switch],
            group_limit=int(limit[:18]) if limit else 0,
            next_token=token,
        )

    def wants(self, view: RuleView) -> bool:
        """Say whether a rule is asked for."""
        asked = ((self.names, view.name), (self.groups, view.group), (self.files, view.file))
        named = self.kind in ("", view.kind) and all(not wanted or own in wanted for wanted, own in asked)
        return named and self.labels.takes(view.labels)


def page_of(groups: Sequence[dict[str, Any]], query: RulesQuery) -> tuple[list[dict[str, Any]], str]:
    """Return the groups of one page and the token of the next, "" after the last. Raises RulesQueryError."""
    if not query.group_limit:
        return list(groups), ""
    first = 0
    if query.next_token:
        tokens = [_token(group) for group in groups]
        if query.next_token not in tokens:
            raise RulesQueryError(
                f"invalid group_next_token {query.next_token[:80]!r}: the rule groups changed; start again without it"
            )
        first = tokens.index(query.next_token)
    end = first + query.group_limit
    return list(groups[first:end]), _token(groups[end]) if end < len(groups) else ""


def _token(group: dict[str, Any]) -> str:
    """Name a group without leading anyone to believe that the name can be read."""
    text = f"{group['file']};{group['name']}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:40]
