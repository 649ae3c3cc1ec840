"""The part's face: what it exports, configures and refuses."""

import importlib
import pkgutil
from pathlib import Path

import ninesight_analytics
import pytest
from ninesight_analytics import AnalyticsConfig
from ninesight_analytics.contract import Billing
from pydantic import ValidationError


def modules():
    """Every module of the part."""
    found = pkgutil.walk_packages(ninesight_analytics.__path__, "ninesight_analytics.")
    return ["ninesight_analytics", *(info.name for info in found)]


@pytest.mark.parametrize("name", modules())
def test_every_module_exports_a_sorted_list_that_exists(name):
    """`__all__` is complete enough to import from, and sorted as ruff sorts it."""
    module = importlib.import_module(name)
    assert all(hasattr(module, one) for one in module.__all__)
    constants = [one for one in module.__all__ if one.isupper()]
    classes = [one for one in module.__all__ if one[0].isupper() and not one.isupper()]
    rest = [one for one in module.__all__ if not one[0].isupper()]
    assert module.__all__ == sorted(constants) + sorted(classes) + sorted(rest)


def test_an_empty_configuration_works():
    """The built-in price book, no SLA, observed billing."""
    config = AnalyticsConfig()
    assert (config.price_book, config.slas, config.billing) == (None, (), Billing.OBSERVED)
    assert config.rooted(Path("/etc")) == config


def test_relative_paths_start_at_the_configuration_file():
    """Absolute ones stay."""
    config = AnalyticsConfig(price_book="prices.yaml", slas=["gold.yaml", "/srv/silver.yaml"])
    rooted = config.rooted(Path("/etc/ninesight"))
    assert rooted.price_book == Path("/etc/ninesight/prices.yaml")
    assert rooted.slas == (Path("/etc/ninesight/gold.yaml"), Path("/srv/silver.yaml"))


def test_an_unknown_key_is_refused():
    """A typing error is told, not ignored."""
    with pytest.raises(ValidationError, match="pricebook"):
        AnalyticsConfig(pricebook="x.yaml")


def test_the_readme_names_every_configuration_key():
    """Documentation and code change together."""
    text = (Path(ninesight_analytics.__file__).parents[1] / "README.md").read_text()
    assert all(f"`{key}`" in text for key in AnalyticsConfig.model_fields)
