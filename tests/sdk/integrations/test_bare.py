"""An environment with none of the frameworks: the SDK's dependencies and pytest, from a lock of their own.

`.ci/run` runs all of the SDK's tests there. Here: that nothing slipped into it, and that the tests can be read.
"""

import os
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

FRAMEWORKS = [
    "bentoml",
    "fastapi",
    "flask",
    "grpc",
    "gunicorn",
    "litserve",
    "mlserver",
    "numpy",
    "onnx",
    "onnxruntime",
    "ray",
    "starlette",
    "torch",
    "uvicorn",
]


def pins(lock):
    """{package: version} of a lock."""
    return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_the_locks_agree():
    """The bare environment has the versions that everything else is tested with."""
    bare, whole = pins(HERE / "frameworks" / "bare.lock"), pins(ROOT / "requirements.lock")
    assert {"prometheus-client", "opentelemetry-sdk", "pytest"} <= set(bare)
    differ = {name: (bare[name], whole.get(name)) for name in bare if bare[name] != whole.get(name)}
    assert not differ, f"`make lock` makes them agree: {differ}"
    assert not {name.replace("_", "-") for name in FRAMEWORKS} & set(bare)


def test_it_has_no_framework_and_every_test_can_be_read(framework):
    """Only the integrations that subclass what a framework has ask for it; no test breaks at its top."""
    python = framework("bare")
    names = sorted(path.stem for path in (ROOT / "sdk/ninesight/integrations").glob("[a-z]*.py"))
    assert len(names) > 5
    program = f"""
import importlib, importlib.util
assert not [name for name in {FRAMEWORKS} if importlib.util.find_spec(name)]
import ninesight
for name in {names}:
    try:
        importlib.import_module("ninesight.integrations." + name)
    except ModuleNotFoundError as error:
        print(name, error.name)
"""
    ran = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["grpc grpc", "litserve litserve"]
    ran = subprocess.run(
        [python, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/sdk"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "NINESIGHT_REQUIRE_REAL": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.search(r"^(\d+) tests collected", ran.stdout, re.MULTILINE)[1]) > 300
