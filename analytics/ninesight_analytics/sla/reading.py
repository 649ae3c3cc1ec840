"""Read SLA documents: OpenSLO v1 with our contract extension, one or many in a file.

apiVersion: openslo/v1
kind: SLO
metadata: {name: ranker}
spec:
  service: ranker
  timeWindow: [{duration: 30d}]
  budgetingMethod: Occurrences
  ninesight: {model: ranker, customer: Acme}
  objectives:
    - {displayName: answered, target: 0.999, ninesight: {kind: availability}}
    - {displayName: fast, targetPercent: 99, ninesight: {kind: latency, threshold: 250ms}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ninesight_query.errors import ParseError
from ninesight_query.parse import parse, parse_selector

from ninesight_analytics.documents import checked, read_documents
from ninesight_analytics.errors import SlaError
from ninesight_analytics.selectors import quoted
from ninesight_analytics.sla.agreement import BurnWindow, Objective, Sla
from ninesight_analytics.sla.burn import default_windows
from ninesight_analytics.sla.events import Events, LatencyEvents, OutcomeEvents, QueryEvents, events_expr
from ninesight_analytics.sla.openslo import (
    KINDS,
    ContractConfig,
    IndicatorDocument,
    IndicatorSpec,
    ObjectiveConfig,
    SloDocument,
    TimeWindowConfig,
)
from ninesight_analytics.sla.period import Period, openslo_duration_ms

__all__ = ["load"]

_PREFIX = "ninesight/"
_NAMES = frozenset({"customer", "model", "version", "time_zone"})


def load(source: Path | str) -> tuple[Sla, ...]:
    """Return the SLAs in a file, or in a text with a line break, in their order.

    Raises SlaError with a line per finding: the document, the key, what must hold, what was given.
    """
    name, documents = read_documents(source, SlaError)
    flat = [one for document in documents for one in (document if isinstance(document, list) else [document])]
    indicators: dict[str, IndicatorSpec] = {}
    slos: list[tuple[str, SloDocument]] = []
    for index, document in enumerate(flat):
        place = f"{name}: document {index + 1}"
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind not in KINDS:
            raise SlaError(f"{place}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if kind == "SLI":
            indicator = checked(IndicatorDocument, document, place, SlaError)
            indicators[indicator.metadata.name] = indicator.spec
        elif kind == "SLO":
            slos.append((place, checked(SloDocument, document, place, SlaError)))
    if not slos:
        raise SlaError(f"{name}: must hold at least one document of kind SLO, got {len(flat)} of other kinds")
    found = tuple(_sla(document, place, indicators) for place, document in slos)
    names = [sla.name for sla in found]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise SlaError(f"{name}: metadata.name must be unique, got {twice[0]!r} twice; rename one")
    return found


def _sla(document: SloDocument, place: str, indicators: Mapping[str, IndicatorSpec]) -> Sla:
    spec = document.spec
    contract = _contract(document, place)
    period = _period(spec.timeWindow[0], contract, place)
    indicator = _indicator(document, place, indicators)
    objectives = tuple(
        _objective(config, contract, indicator, f"{place}: spec.objectives.{index}")
        for index, config in enumerate(spec.objectives)
    )
    names = [objective.name for objective in objectives]
    if len(set(names)) < len(names):
        raise SlaError(f"{place}: spec.objectives need different displayNames, got {', '.join(names)}")
    return Sla(
        name=document.metadata.name,
        service=spec.service,
        objectives=objectives,
        period=period,
        burn_windows=_burn_windows(contract, period, objectives, place),
        customer=contract.customer,
        model=contract.model,
        version=contract.version,
        display_name=document.metadata.displayName,
        description=spec.description,
    )


def _contract(document: SloDocument, place: str) -> ContractConfig:
    """Merge spec.ninesight and the annotations; a key in both is an error."""
    given: dict[str, Any] = {}
    for key, text in document.metadata.annotations.items():
        if not key.startswith(_PREFIX):
            continue
        short = key.removeprefix(_PREFIX)
        # A customer called "1" or "on" is still a name.
        given[short] = text if short in _NAMES else _yaml_value(text, f"{place}: metadata.annotations.{key}")
    annotated = checked(ContractConfig, given, f"{place}: metadata.annotations ({_PREFIX})", SlaError)
    written = document.spec.ninesight
    if written is None:
        return annotated
    if both := sorted(set(given) & written.model_fields_set):
        raise SlaError(f"{place}: {both[0]} is in spec.ninesight and in the annotations; keep one of them")
    return written.model_copy(update={key: getattr(annotated, key) for key in given})


def _yaml_value(text: str, place: str) -> Any:
    """Return the value of an annotation, read under the same bounds as a document."""
    try:
        _, values = read_documents(f"{text}\n", SlaError)
    except SlaError as problem:
        raise SlaError(f"{place} must be YAML, got {text[:80]!r}: {problem}") from None
    return values[0] if values else None


def _period(window: TimeWindowConfig, contract: ContractConfig, place: str) -> Period:
    length = openslo_duration_ms(window.duration)
    if window.isRolling:
        if contract.time_zone is not None:
            raise SlaError(
                f"{place}: time_zone is for calendar months; set isRolling: false in spec.timeWindow.0 or drop it"
            )
        return Period(window.duration, length)
    written = window.calendar.timeZone if window.calendar else None
    if written and contract.time_zone and written != contract.time_zone:
        raise SlaError(
            f"{place}: time_zone must equal calendar.timeZone, got {contract.time_zone} and {written}"
        )
    zone = contract.time_zone or written
    if zone is None:
        raise SlaError(
            f"{place}: spec.timeWindow.0 must give calendar.timeZone for a calendar month; write UTC"
        )
    return Period(window.duration, length, zone)


def _indicator(
    document: SloDocument, place: str, indicators: Mapping[str, IndicatorSpec]
) -> IndicatorSpec | None:
    spec = document.spec
    if spec.indicatorRef is not None:
        if spec.indicatorRef not in indicators:
            known = ", ".join(sorted(indicators)) or "none"
            raise SlaError(
                f"{place}: spec.indicatorRef must name an SLI in the same file, got {spec.indicatorRef!r}; known: {known}"
            )
        return indicators[spec.indicatorRef]
    return spec.indicator.spec if spec.indicator else None


def _objective(
    config: ObjectiveConfig, contract: ContractConfig, indicator: IndicatorSpec | None, place: str
) -> Objective:
    events = _shorthand(config, contract, place) if indicator is None else _events(config, indicator, place)
    minimum = contract.minimum_requests
    return Objective(
        name=config.displayName or events.kind,
        target=config.ratio,
        events=events,
        minimum_requests=math.ceil(1 / (1 - config.ratio) - 1e-9) if minimum is None else minimum,
    )


def _shorthand(config: ObjectiveConfig, contract: ContractConfig, place: str) -> Events:
    if config.ninesight is None:
        raise SlaError(
            f"{place}: must give ninesight: {{kind: availability}} or {{kind: latency, threshold: 250ms}}, "
            "because the SLO has no indicator"
        )
    if config.op is not None or config.value is not None:
        raise SlaError(
            f"{place}: op and value belong to a thresholdMetric; write ninesight.threshold instead"
        )
    if not contract.model:
        raise SlaError(f"{place}: spec.ninesight.model must be given, because the SLO has no indicator")
    labels = {"model": contract.model} | ({"version": contract.version} if contract.version else {})
    if config.ninesight.kind == "latency":
        return LatencyEvents(config.ninesight.threshold, labels)
    return OutcomeEvents(labels, contract.exclude_outcomes, contract.fallback)


def _events(config: ObjectiveConfig, indicator: IndicatorSpec, place: str) -> Events:
    if config.ninesight is not None:
        raise SlaError(
            f"{place}: ninesight is a shorthand for SLOs without an indicator; drop one of the two"
        )
    if indicator.thresholdMetric is not None:
        return _threshold(config, indicator.thresholdMetric.metricSource.query, place)
    ratio = indicator.ratioMetric
    assert ratio is not None
    if config.op is not None or config.value is not None:
        raise SlaError(
            f"{place}: op and value are forbidden with a ratioMetric, as OpenSLO has it; drop them"
        )
    if ratio.total is None or (ratio.good is None) == (ratio.bad is None):
        raise SlaError(f"{place}: its ratioMetric must hold total, and exactly one of good and bad")
    if not ratio.counter:
        raise SlaError(f"{place}: its ratioMetric must have counter: true; events are counted by increase()")
    return QueryEvents(
        total_query=_counter(ratio.total.metricSource.query, f"{place}: ratioMetric.total"),
        good_query=_counter(ratio.good.metricSource.query, f"{place}: ratioMetric.good")
        if ratio.good
        else "",
        bad_query=_counter(ratio.bad.metricSource.query, f"{place}: ratioMetric.bad") if ratio.bad else "",
    )


def _counter(query: str, place: str) -> str:
    """Return the query if it can be counted over any look-back."""
    try:
        parse(events_expr(query, "5m"))
    except ParseError as problem:
        raise SlaError(
            f"{place}: spec.query must be a counter selector, or PromQL with {{{{.window}}}} as its look-back, "
            f"got {query!r}: {problem}"
        ) from None
    return query


def _threshold(config: ObjectiveConfig, query: str, place: str) -> LatencyEvents:
    if config.op not in ("lte", "lt") or config.value is None or config.value <= 0:
        raise SlaError(f"{place}: a thresholdMetric needs op: lte and a value in seconds above 0")
    try:
        matchers = parse_selector(query)
    except ParseError as problem:
        raise SlaError(
            f"{place}: thresholdMetric spec.query must be a histogram selector, got {query!r}: {problem}"
        ) from None
    names = [m.value for m in matchers if m.name == "__name__" and m.op == "="]
    if len(names) != 1:
        raise SlaError(f"{place}: thresholdMetric spec.query must name one metric, got {query!r}")
    more = tuple(f"{m.name}{m.op}{quoted(m.value)}" for m in matchers if m.name != "__name__")
    return LatencyEvents(config.value, metric=names[0].removesuffix("_bucket"), matchers=more)


def _burn_windows(
    contract: ContractConfig, period: Period, objectives: Sequence[Objective], place: str
) -> tuple[BurnWindow, ...]:
    """Return the contract's windows, each able to fire; or the default set."""
    if contract.burn_windows is None:
        try:
            return default_windows(period.length_ms)
        except ValueError as problem:
            raise SlaError(f"{place}: spec.ninesight.{problem}") from None
    for index, config in enumerate(contract.burn_windows):
        for objective in objectives:
            if config.factor * objective.budget >= 1:
                raise SlaError(
                    f"{place}: spec.ninesight.burn_windows.{index}.factor must be below {1 / objective.budget:g}, the "
                    f"most that objective {objective.name!r} can burn, got {config.factor:g}"
                )
    return tuple(
        BurnWindow(one.long, one.short, one.factor, one.severity, one.hold or "")
        for one in contract.burn_windows
    )
