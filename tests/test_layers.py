"""The house: which part may import which. Arrows run one way (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PARTS = {
    "ninesight": ("sdk", set()),
    "ninesight_store": ("store", set()),
    "ninesight_query": ("query", {"ninesight_store"}),
    "ninesight_collector": ("collector", {"ninesight_store"}),
    "ninesight_analytics": ("analytics", {"ninesight_query"}),
    "ninesight_alerts": ("alerts", {"ninesight_query"}),
    "ninesight_dashboards": (
        "dashboards",
        {"ninesight_query", "ninesight_analytics", "ninesight_alerts"},
    ),
    "ninesight_server": ("reference_server", {"ninesight"}),
    "ninesight_suite": ("suite", None),
}


def imports_of(path: Path) -> set[str]:
    """Top-level names of every import in a file, lazy ones included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(PARTS))
def test_a_part_imports_only_what_lies_below_it(package):
    """No file imports one of our parts that the design does not let it import."""
    folder, allowed = PARTS[package]
    if allowed is None:
        return
    wrong = []
    for path in sorted((ROOT / folder / package).rglob("*.py")):
        ours = imports_of(path) & set(PARTS) - {package}
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(ours - allowed)]
    rule = f"{package} may import {sorted(allowed) or 'nothing of ours'}; move the shared piece down, or ask through a contract"
    assert not wrong, "\n".join([rule, *wrong])


@pytest.mark.parametrize("package", sorted(PARTS))
def test_every_part_has_the_same_face(package):
    """README.md beside the package; contract, errors, config and testing inside it."""
    folder, _ = PARTS[package]
    faces = [ROOT / folder / "README.md"]
    faces += [ROOT / folder / package / f"{name}.py" for name in ("contract", "errors", "config", "testing")]
    missing = [str(path.relative_to(ROOT)) for path in faces if not path.exists()]
    assert not missing, f"a part shows the same face as the others; add {missing}"
