"""What is asked: the pages' panels, the analyses, and the commonest forms of public rule packs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ninesight_analytics.sla.events import LatencyEvents, OutcomeEvents
from ninesight_dashboards.panels import MODEL, OVERVIEW, SPARKS

__all__ = ["Question", "long_questions", "questions"]

_ABSENT = "model_batch_size"
"""A metric the fleet does not have."""
_AVERAGE = re.compile(r"histogram_avg\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")
NATIVE_ERROR_MAX = 0.05
"""Prometheus 2 interpolates a native bucket in a line, ours and Prometheus 3 in a curve: 2^(1/8) wide at schema 3."""


@dataclass(frozen=True)
class Question:
    """One query. An instant one has no span."""

    name: str
    query: str
    span_s: int = 0
    step_s: int = 0
    tolerance: float = 1e-9
    """Greatest relative difference between the answers."""

    @property
    def reach_s(self) -> int:
        """Length of the longest window, in seconds."""
        units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
        return max((int(n) * units[u] for n, u in re.findall(r"\[(\d+)([smhd])", self.query)), default=0)

    @property
    def peer_query(self) -> str:
        """The same for a Prometheus that has no histogram_avg."""
        return _AVERAGE.sub(r"(histogram_sum(\1) / histogram_count(\1))", self.query)


def long_questions(days: int) -> list[Question]:
    """Return what is asked of weeks: at least 1,000 points drawn from all of it, and sums over it.

    Steps are whole quarters of an hour, as people choose them; one is not.
    """
    span_s = days * 86_400
    odd_s = span_s // 1000
    step_s = max(900, odd_s // 900 * 900)
    drawn = {
        "rates": "sum by (model) (rate(model_requests_total[1h]))",
        "means": "avg by (instance) (avg_over_time(gpu_utilization_ratio[1h]))",
        "peaks": "max_over_time(model_queue_depth[1h])",
        "raw": "model_requests_in_flight",
        "p99": "histogram_quantile(0.99, sum by (le) (rate(model_request_duration_seconds_bucket[1h])))",
    }
    summed = {
        "requests": f"sum by (outcome) (increase(model_requests_total[{days}d]))",
        "mean": f"avg_over_time(gpu_utilization_ratio[{days}d])",
        "least": f"min_over_time(up[{days}d])",
    }
    asked = [Question(f"{name} over {days} d", query, span_s, step_s) for name, query in drawn.items()]
    asked.append(Question(f"rates over {days} d by {odd_s} s", drawn["rates"], span_s, odd_s))
    return asked + [Question(f"{name} of {days} d", query) for name, query in summed.items()]


def questions(hours: int) -> list[Question]:
    """Return all questions that `hours` of data can answer."""
    every = [*_pages(), *_analyses(), *_rules(), *_boards()]
    return [each for each in every if max(each.span_s, each.reach_s) <= hours * 3600]


def _pages() -> Iterator[Question]:
    """Every distinct query of the panels, at the spans and steps that the pages choose."""
    seen: set[str] = set()
    for panels, scope, where in ((OVERVIEW + SPARKS, "", "overview"), (MODEL, 'model="model-3"', "model")):
        for panel in panels:
            for query in panel.queries:
                if _ABSENT in query.expr or query.expr in seen:
                    continue
                seen.add(query.expr)
                name = f"{where} {panel.id} {query.name}".strip()
                tolerance = NATIVE_ERROR_MAX if "quantile" in query.expr else 1e-9
                for span_s, step_s, label in ((86_400, 300, "24h"), (3600, 15, "1h")):
                    if label == "1h" and query.name in ("p50", "p90", "p95"):
                        continue
                    text = query.expr.replace("$scope", scope).replace("$w", f"{max(60, step_s)}s")
                    text = text.replace("{, ", "{").replace("{}", "")
                    yield Question(f"{name} {label}", text, span_s, step_s, tolerance)


def _analyses() -> Iterator[Question]:
    model = {"model": "model-3"}
    events, latency = OutcomeEvents(model), LatencyEvents(0.1, model)
    for span in ("5m", "1h", "6h", "1d"):
        yield Question(f"SLA burn rate {span}", events.bad_ratio(span))
    yield Question("SLA latency burn rate 1h", latency.bad_ratio("1h"), tolerance=NATIVE_ERROR_MAX)
    yield Question("SLA total 1d", events.total("1d"))
    yield Question(
        "traffic 1d by outcome",
        "sum by (model, version, outcome, served_by) (increase(model_requests_total[1d]))",
    )
    yield Question(
        "busy seconds 1d", "sum by (model, gpu, instance) (increase(model_accelerator_seconds_total[1d]))"
    )


def _rules() -> Iterator[Question]:
    """Forms of awesome-prometheus-alerts, the node and Kubernetes mixins; metric names that the fleet has."""
    forms = {
        "target down": "up == 0",
        "targets up": "count by (job) (up == 1)",
        "absent": 'absent(up{job="serve"})',
        "restarts": "changes(process_start_time_seconds[15m]) > 2",
        "host cpu": '100 - (avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m])) * 100) > 80',
        "cpu record": '1 - avg without (cpu) (sum without (mode) (rate(node_cpu_seconds_total{mode=~"idle|iowait|steal"}[5m])))',
        "memory": "(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) * 100",
        "disk space": '(node_filesystem_avail_bytes{fstype!="tmpfs"} * 100) / node_filesystem_size_bytes < 10',
        "disk fills up": 'predict_linear(node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs"}[6h], 4 * 3600) < 0',
        "load": 'node_load1 > on (instance) group_left () (2 * count by (instance) (node_cpu_seconds_total{mode="idle"}))',
        "http errors": 'sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (job) (rate(http_requests_total[5m])) * 100 > 5',
        "http p99": "histogram_quantile(0.99, sum by (le, job) (rate(model_request_duration_seconds_bucket[5m]))) > 1",
        "p99 each": "histogram_quantile(0.99, rate(model_request_duration_seconds_bucket[5m])) > 1",
        "requests record": "sum by (model, outcome) (rate(model_requests_total[5m]))",
        "hour ago": "sum by (handler) (rate(http_requests_total[5m])) / sum by (handler) (rate(http_requests_total[5m] offset 1h))",
        "idle gpus": "avg_over_time(gpu_utilization_ratio[1h]) < 0.1",
        "gpu heat": "max by (instance) (gpu_temperature_celsius) > 85",
        "top talkers": "topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))",
        "peak of the hour": "max_over_time(sum by (model) (rate(model_requests_total[5m]))[1h:1m])",
        "queue p95": "quantile_over_time(0.95, model_queue_depth[1h])",
        "not ready": "model_ready == 1 unless on (instance) (up == 1)",
        "every series": 'count({__name__=~".+"})',
    }
    for name, query in forms.items():
        yield Question(f"rule {name}", query)


def _boards() -> Iterator[Question]:
    """Forms of public dashboards."""
    yield Question(
        "board cpu modes 1h", "sum by (instance, mode) (irate(node_cpu_seconds_total[5m]))", 3600, 15
    )
    yield Question(
        "board cpu 24h",
        '100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])))',
        86_400,
        120,
    )
    yield Question("board network 6h", "rate(node_network_receive_bytes_total[5m]) * 8", 21_600, 30)
    yield Question("board raw gauges 24h", "gpu_power_watts", 86_400, 120)
    yield Question(
        "board p99 heat 24h", "sum by (le) (rate(model_request_duration_seconds_bucket[5m]))", 86_400, 120
    )
    yield Question("board one series 24h", 'model_queue_depth{instance="serve-3:8000"}', 86_400, 60)
    yield Question(
        "board top models 6h", "topk(3, sum by (model) (rate(model_tokens_total[5m])))", 21_600, 60
    )
    yield Question("board daily mean 24h", "avg_over_time(gpu_utilization_ratio[10m])", 86_400, 600)
