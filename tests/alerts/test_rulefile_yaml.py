"""Rule files that are odd YAML: refused with their place, never with a traceback of the parser's."""

import pytest
from ninesight_alerts import rules_from_text
from ninesight_alerts.errors import RuleError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("groups:\n- name: !!int abc\n", "does not fit its tag"),
        ("groups:\n- {[a, b]: 1}\n", "a key must be text"),
        ("groups: []\ngroups: []\n", "occurs twice"),
    ],
)
def test_odd_yaml_is_refused_with_its_place(text, words):
    """The message says what is wrong, and on which line."""
    with pytest.raises(RuleError) as caught:
        rules_from_text(text)
    assert words in str(caught.value)
    assert "line" in str(caught.value)
