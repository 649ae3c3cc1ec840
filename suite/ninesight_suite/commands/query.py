"""`ninesight query`: ask a running suite, or any Prometheus-compatible server, in PromQL."""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Any

import typer

from ninesight_suite.errors import SuiteError

__all__ = ["query"]

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def query(
    expression: Annotated[
        str,
        typer.Argument(
            metavar="PROMQL", help="the question, e.g. 'sum by (model) (rate(model_requests_total[1m]))'"
        ),
    ],
    url: Annotated[str, typer.Option(help="address of the API")] = "http://127.0.0.1:9901",
    last: Annotated[
        str | None,
        typer.Option("--range", help="ask over this long until now, e.g. 1h; without it: one value, now"),
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="distance of the points of a range, e.g. 15s; default: range/100")
    ] = None,
    at: Annotated[
        float | None, typer.Option("--time", help="evaluate at this Unix time in seconds, instead of now")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="NINESIGHT_API_TOKEN", help="bearer token, where the API asks for one"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the server's answer as it is")] = False,
) -> None:
    """Ask a question in PromQL and print the answer as a table.

    Examples:

    - `ninesight query 'histogram_quantile(0.95, sum by (model) (rate(model_request_duration_seconds[5m])))'`
    - `ninesight query --range 1h --step 1m 'sum by (model, outcome) (rate(model_requests_total[1m]))'`
    """
    end = time.time() if at is None else at
    if last is None:
        answer = _ask(f"{url}/api/v1/query", {"query": expression, "time": f"{end:.3f}"}, token)
    else:
        span = seconds_of(last, "--range")
        width = seconds_of(step, "--step") if step else max(1.0, span / 100.0)
        form = {"query": expression, "start": f"{end - span:.3f}", "end": f"{end:.3f}", "step": f"{width:g}"}
        answer = _ask(f"{url}/api/v1/query_range", form, token)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    _show(answer)


def seconds_of(text: str, option: str) -> float:
    """Read a duration such as 90s or 1h30m. Raises SuiteError naming the option."""
    pieces = _DURATION.findall(text)
    if not pieces or "".join(n + unit for n, unit in pieces) != text:
        raise SuiteError(f"{option} must be a duration such as 30s, 5m or 1h30m, got {text!r}")
    return sum(int(n) * _SECONDS[unit] for n, unit in pieces)


def _ask(url: str, form: dict[str, str], token: str | None) -> dict[str, Any]:
    import httpx2

    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = httpx2.post(url, data=form, headers=headers, timeout=120.0)
    except httpx2.HTTPError as error:
        raise SuiteError(
            f"{url} does not answer ({error}); is `ninesight up` running? --url names another address"
        ) from None
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        raise SuiteError(
            f"{url} answered {response.status_code} without JSON; --url must name a Prometheus-compatible API"
        ) from None
    if answer.get("status") != "success":
        raise SuiteError(f"{answer.get('errorType', 'error')}: {answer.get('error', answer)}")
    return answer


def _show(answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for word in ("warnings", "infos"):
        for line in answer.get(word) or ():
            console.print(f"{word[:-1]}: {line}", style="yellow", markup=False)
    data = answer["data"]
    if data["resultType"] in {"scalar", "string"}:
        console.print(data["result"][1], markup=False)
        return
    if not data["result"]:
        console.print("no series match")
        return
    table = Table(
        "series", "value" if data["resultType"] == "vector" else "time and value", box=None, pad_edge=False
    )
    for row in data["result"]:
        table.add_row(_series(row["metric"]), _value(row))
    console.print(table)


def _series(metric: dict[str, str]) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(metric.items()) if name != "__name__")
    return f"{metric.get('__name__', '')}{{{labels}}}".replace("[", "\\[")


def _value(row: dict[str, Any]) -> str:
    if "value" in row:
        return str(row["value"][1])
    if "histogram" in row:
        return f"histogram: count {row['histogram'][1]['count']}, sum {row['histogram'][1]['sum']}"
    points = [(at, value) for at, value in row.get("values", ())]
    points += [(at, f"count {h['count']}, sum {h['sum']}") for at, h in row.get("histograms", ())]
    return "\n".join(f"{time.strftime('%H:%M:%S', time.gmtime(at))}Z  {value}" for at, value in points)
