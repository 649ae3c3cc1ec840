"""Docs are held by the code: links lead somewhere, examples run, every key and command is described."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for path in ROOT.glob("**/*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def blocks(path, language):
    """The fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    """Every relative link of a page names a file or folder that is there."""
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert not missing, f"{page.relative_to(ROOT)} links to {missing}"


def test_the_readmes_example_runs():
    """The five lines run as they stand, and answer, with no collector there."""
    (example,) = blocks(ROOT / "README.md", "python")
    program = example + "\nassert predict(['1', '2']) == [2.0, 4.0]\nassert ninesight.stats() is not None\n"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 0, found.stderr


def test_configuration_examples_are_valid():
    """YAML in the README and the file in deploy/ are accepted by the configuration."""
    from ninesight_suite.config import SuiteConfig

    texts = [*blocks(ROOT / "README.md", "yaml"), (ROOT / "deploy" / "ninesight.yaml").read_text()]
    assert len(texts) >= 2
    for text in texts:
        SuiteConfig.model_validate(yaml.safe_load(text))


def test_every_command_is_described():
    """Each subcommand of `ninesight` is in the suite's README."""
    from ninesight_suite.commands import app

    words = (ROOT / "suite" / "README.md").read_text()
    missing = [one.name for one in app.registered_commands if f"ninesight {one.name}" not in words]
    assert not missing, f"describe {missing} in suite/README.md"


def keys_of(model):
    """Every key a person may write, nested ones included, each with the model that holds it."""
    import typing

    for name, field in model.model_fields.items():
        yield name
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from keys_of(part)


@pytest.mark.parametrize(
    ("section", "folder"),
    [
        ("store", "store"),
        ("query", "query"),
        ("collector", "collector"),
        ("analytics", "analytics"),
        ("alerts", "alerts"),
        ("pages", "dashboards"),
        ("api", "suite"),
    ],
)
def test_every_configuration_key_is_described(section, folder):
    """Each key of a part's section is in the part's README."""
    from ninesight_suite.config import SuiteConfig

    words = (ROOT / folder / "README.md").read_text()
    model = SuiteConfig.model_fields[section].annotation
    missing = sorted({key for key in keys_of(model) if not re.search(rf"\b{re.escape(key)}\b", words)})
    assert not missing, f"describe {missing} in {folder}/README.md"


def test_every_part_is_in_the_readme():
    """The README names each part and links to its page."""
    words = (ROOT / "README.md").read_text()
    parts = (
        "sdk",
        "store",
        "query",
        "collector",
        "analytics",
        "alerts",
        "dashboards",
        "reference_server",
        "suite",
    )
    assert [part for part in parts if f"({part}/README.md)" not in words] == []
