"""The face of the part: public names, docstrings that run, configuration that is documented."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import ninesight_alerts
import pytest
from ninesight_alerts import AlertsConfig, ReceiverConfig

MODULES = sorted(module.name for module in pkgutil.iter_modules(ninesight_alerts.__path__))
README = Path(__file__).parents[2] / "alerts" / "README.md"


def test_public_names_are_there():
    """`__all__` is sorted and every name exists."""
    assert ninesight_alerts.__all__ == sorted(
        ninesight_alerts.__all__, key=lambda name: (not name[0].isupper(), name)
    )
    assert [name for name in ninesight_alerts.__all__ if not hasattr(ninesight_alerts, name)] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    """Every example gives what it says."""
    result = doctest.testmod(importlib.import_module(f"ninesight_alerts.{name}"))
    assert result.failed == 0


@pytest.mark.parametrize("model", [AlertsConfig, ReceiverConfig])
def test_every_key_is_in_the_readme(model):
    """A key that is not documented does not exist for people."""
    text = README.read_text()
    assert [name for name in model.model_fields if f"`{name}`" not in text] == []
