"""The demo's own configuration, written as the files a team would write: configuration, SLAs, prices, rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ninesight_suite.demo.settings import DemoSettings

__all__ = ["DemoFiles", "gpu_mode", "write_files"]

_PRICES = {
    "entries": [
        {
            "id": "demo-simulated-gpu",
            "provider": "demo",
            "sku": "no such hardware",
            "simulated": True,
            "purchase": "owned",
            "currency": "USD",
            "price_per_hour": "3.60",
            "note": "Invented: 0.001 USD a second, so that sums can be followed by hand.",
        }
    ]
}

_RULES = {
    "groups": [
        {
            "name": "demo",
            "interval": "2s",
            "rules": [
                {
                    "record": "model:request_duration_seconds:p95_30s",
                    "expr": "histogram_quantile(0.95, sum by (model) (rate(model_request_duration_seconds[30s])))",
                },
                {
                    "alert": "ModelServerGone",
                    "expr": 'absent(model_ready{job="reference-server"})',
                    "for": "30s",
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "the reference server reports nothing"},
                },
            ],
        }
    ]
}


@dataclass(frozen=True)
class DemoFiles:
    """Where the files are."""

    config: Path
    scenario: Path
    """What the simulated GPU does; written while the demo runs."""


def gpu_mode() -> str:
    """Return `nvml` where a driver answers, else `simulated`."""
    import pynvml

    try:
        pynvml.nvmlInit()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return "simulated"
    return "nvml"


def write_files(settings: DemoSettings, webhook_url: str) -> DemoFiles:
    """Write everything into the demo's folder."""
    folder = settings.folder
    scenario = folder / "gpu-scenario.json"
    # Long enough for a rule pass between two samples, short enough to watch: real SLAs use hours.
    slas = [_sla("digits-light", 0.05), _sla("ranker-heavy", 0.25)]
    (folder / "slas.yaml").write_text(yaml.safe_dump_all(slas, sort_keys=False))
    (folder / "prices.yaml").write_text(yaml.safe_dump(_PRICES, sort_keys=False))
    (folder / "rules.yaml").write_text(yaml.safe_dump(_RULES, sort_keys=False))
    config = folder / "ninesight.yaml"
    config.write_text(yaml.safe_dump(_config(settings, scenario, webhook_url), sort_keys=False))
    return DemoFiles(config, scenario)


def _config(settings: DemoSettings, scenario: Path, webhook_url: str) -> dict[str, Any]:
    mode = gpu_mode()
    gpu: dict[str, Any] = {"mode": mode, "interval": "2s"}
    if mode == "simulated":
        gpu["scenario"] = {"name": "Simulated H100 80GB", "gpus": 1, "file": str(scenario)}
    return {
        "data_dir": "data",
        "listen": str(settings.api),
        "pages_listen": str(settings.pages),
        "collector": {"gpu": gpu, "host": {"interval": "2s"}},
        "analytics": {"price_book": "prices.yaml", "slas": ["slas.yaml"]},
        "alerts": {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": "2s",
            "receivers": [{"name": "on-call", "url": webhook_url, "allow_private": True}],
            "external_url": settings.pages.url,
        },
        "pages": {"default_range": "5m"},
    }


def _sla(model: str, threshold_s: float) -> dict[str, Any]:
    """An SLA over one hour with burn windows of seconds, so that a demo can break and mend it."""
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": f"{model}-demo", "displayName": f"{model}, demo contract"},
        "spec": {
            "description": f"{model} answers, and answers within {threshold_s * 1000:g} ms.",
            "service": model,
            "timeWindow": [{"duration": "1h", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "ninesight": {
                "customer": "demo",
                "model": model,
                "burn_windows": [{"long": "1m", "short": "15s", "factor": 10, "severity": "page"}],
            },
            "objectives": [
                {"displayName": "answered", "targetPercent": 99, "ninesight": {"kind": "availability"}},
                {
                    "displayName": "fast",
                    "targetPercent": 98,
                    "ninesight": {"kind": "latency", "threshold": f"{threshold_s * 1000:g}ms"},
                },
            ],
        },
    }
