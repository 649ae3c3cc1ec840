"""Documents that are odd YAML: refused with their place and the way out."""

import pytest
from ninesight_analytics import pricebook, sla
from ninesight_analytics.errors import AnalyticsError


@pytest.mark.parametrize("load", [pricebook.load, sla.load])
def test_a_value_that_is_no_date_is_told_with_its_place(load):
    """A date that is none names itself and says to put it in quotes."""
    with pytest.raises(AnalyticsError) as caught:
        load("entries:\n  - id: 2026-99-99\n")
    assert "'2026-99-99' is not a valid timestamp" in str(caught.value)
    assert "line 2" in str(caught.value)
