"""What the SDK shows of itself: exports, README, the example in it, the benchmark's last line."""

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import ninesight
import pytest
from ninesight.config import SdkConfig
from ninesight.metrics import METRICS
from ninesight.testing import isolated

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "sdk" / "README.md").read_text()


def test_public_names_are_sorted_and_exist():
    """`__all__` tells the whole surface; each module's names exist (their order is the linter's)."""
    assert list(ninesight.__all__) == sorted(ninesight.__all__)
    for path in sorted((ROOT / "sdk" / "ninesight").glob("*.py")):
        name = "ninesight" if path.stem == "__init__" else f"ninesight.{path.stem}"
        module = __import__(name, fromlist=["__all__"])
        assert all(hasattr(module, item) for item in module.__all__), name


def test_the_readme_has_every_setting_metric_and_public_function():
    """Docs change with the code."""
    missing = [item.name for item in dataclasses.fields(SdkConfig) if f"| `{item.name}` |" not in README]
    missing += [
        info.name
        for info in METRICS.values()
        if f"| `{info.name}` | {info.kind} | {info.unit} |" not in README or info.help not in README
    ]
    missing += [
        name for name in ninesight.__all__ if name.islower() and not re.search(rf"\b{name}\(", README)
    ]
    assert not missing, f"sdk/README.md says nothing, or something else, of {missing}"


def test_the_examples_of_the_readme_run():
    """As they stand there, each in a fresh SDK."""
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        with isolated():
            exec(compile(example, "sdk/README.md", "exec"), {})


def test_the_benchmark_ends_with_the_agreed_figures():
    """Two rounds are enough to see its shape: six keys first, ours below the others', nothing dropped."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "sdk_overhead.py", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *_, counts, last = done.stdout.splitlines()
    figures = json.loads(last)
    first = ["sync_us", "async_us", "stream_item_us", "background_us", "prometheus_us", "opentelemetry_us"]
    assert list(figures)[:6] == first
    assert figures["sync_us"] < figures["prometheus_us"] < figures["opentelemetry_us"]
    assert counts.endswith("dropped 0, internal errors 0")


def test_the_import_costs_little():
    """At most 100 ms and 15 MB over bare Python, and no thread: as the benchmark tells it."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "sdk_import.py", "5"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["import_mb"] <= 15
    assert figures["threads"] == 1
    assert list(figures) == ["import_ms", "import_mb", "threads"]


def test_the_app_answers_lifespan_and_refuses_websockets(sdk):
    """It may be the whole app of a server, or mounted in one."""
    sent = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    app = ninesight.metrics_app()
    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError, match="the metrics app answers http, got websocket"):
        asyncio.run(app({"type": "websocket"}, receive, send))
