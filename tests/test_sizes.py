"""Small is a rule: files under 500 lines (median under 150), functions under 70."""

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "sdk",
    "store",
    "query",
    "collector",
    "analytics",
    "alerts",
    "dashboards",
    "reference_server",
    "suite",
    "tests",
    "benchmarks",
)


def sources():
    """Every Python file we wrote (generated protobuf modules are not ours)."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.endswith("_pb2.py"):
                yield path


def test_no_file_is_over_500_lines():
    """A file holds one noun."""
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := p.read_text().count("\n")) > 500}
    assert not long, f"split these files by noun: {long}"


def test_the_median_file_is_under_150_lines():
    """Most files are read in one sitting."""
    assert statistics.median(p.read_text().count("\n") for p in sources()) < 150


def test_no_function_is_over_70_lines():
    """A function fits a screen."""
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > 70:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {size} lines")
    assert not long, "\n".join(["split these functions:", *long])
