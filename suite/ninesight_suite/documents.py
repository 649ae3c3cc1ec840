"""The documents a configuration names: price book, SLAs, rule files. Read once at start, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ninesight_alerts import RuleGroup, check_rules, rules_from_mapping
from ninesight_alerts.errors import AlertsError
from ninesight_analytics import pricebook, sla
from ninesight_analytics.config import AnalyticsConfig
from ninesight_analytics.errors import AnalyticsError

from ninesight_suite.config import SuiteConfig
from ninesight_suite.errors import ConfigError

__all__ = ["Figures", "check_documents", "load_figures", "sla_rule_groups"]


@dataclass(frozen=True)
class Figures:
    """What analytics needs beside the engine."""

    price_book: pricebook.PriceBook
    slas: tuple[sla.Sla, ...]


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except (AnalyticsError, AlertsError, OSError) as error:
        raise ConfigError(str(error)) from error


def load_figures(config: AnalyticsConfig) -> Figures:
    """Read price book and SLAs. Raises ConfigError with the part's words: file, key, what must hold."""
    with _as_config_error():
        book = pricebook.load(config.price_book) if config.price_book else pricebook.built_in()
        return Figures(book, tuple(found for path in config.slas for found in sla.load(path)))


def sla_rule_groups(slas: tuple[sla.Sla, ...]) -> tuple[RuleGroup, ...]:
    """Return the burn-rate alerts of the SLAs as rule groups. Raises ConfigError."""
    with _as_config_error():
        groups = [sla.burn_rules(one) for one in slas]
        return rules_from_mapping({"groups": groups}, file="SLA documents") if groups else ()


def check_documents(config: SuiteConfig) -> str:
    """Read everything the configuration names and say what there is; warnings are lines of their own.

    Raises ConfigError.
    """
    figures = load_figures(config.analytics)
    groups = sla_rule_groups(figures.slas)
    with _as_config_error():
        warnings = check_rules(config.alerts.rule_files)
    lines = [f"warning: {warning}" for warning in warnings]
    burn = sum(len(group.rules) for group in groups)
    lines.append(
        f"{len(figures.slas)} SLAs with {burn} burn-rate alerts, {len(figures.price_book.entries)} prices"
    )
    return "\n".join(lines)
