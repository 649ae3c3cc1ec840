"""What a person writes under `alerts:`, and the words when it is wrong."""

import re

import pytest
from ninesight_alerts import AlertsConfig, ReceiverError, new_secret
from pydantic import ValidationError


def receiver(**changes):
    return {"name": "pager", "url": "https://hooks.example/T0/secret", **changes}


def test_everything_has_a_default():
    """An empty section is valid: alerts are shown, nobody is told."""
    config = AlertsConfig()
    assert (config.rule_files, config.receivers, config.evaluation_interval) == ((), (), "15s")
    routing = config.routing()
    assert (routing.group_by, routing.group_wait_ms, routing.repeat_interval_ms) == (
        ("alertname", "model"),
        0,
        14_400_000,
    )


def test_a_full_section_is_read():
    """Durations become milliseconds, the receiver its settings."""
    secret = new_secret()
    config = AlertsConfig(
        rule_files=["rules/*.yml"],
        receivers=[receiver(secret=secret, send_resolved=False, timeout="3s", max_alerts=5)],
        group_by=["..."],
        repeat_interval="0",
        external_url="https://nine.example/",
    )
    (item,) = config.receivers
    settings = item.settings()
    assert (settings.timeout_s, settings.key is not None, config.external_url) == (
        3.0,
        True,
        "https://nine.example",
    )
    (route,) = config.routing().receivers
    assert (route.send_resolved, route.max_alerts) == (False, 5)
    assert config.sender_settings(item).lease_ms == 18_000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule_file": []}, "rule_file"),
        ({"evaluation_interval": "often"}, "a duration is written like 30s, 5m or 1h30m"),
        ({"evaluation_interval": "1ms"}, "evaluation_interval must be at least 100ms, got 1ms"),
        ({"external_url": "nine.example"}, "external_url must begin with http:// or https://, got 'nine.example'"),
        ({"backoff_min": "10m"}, "backoff_min must be at least 1ms and at most backoff_max (5m), got 10m"),
        ({"history": "1s"}, "history must be at least 1h, got 1s"),
        ({"receivers": [receiver(), receiver()]}, "receivers must have unique names, 'pager' occurs twice"),
        ({"receivers": [receiver(url="http://10.0.0.1/x")]}, "set allow_private: true if that is meant"),
        ({"receivers": [receiver(url="http://169.254.169.254/x", allow_private=True)]}, "must not be a cloud metadata address"),
        ({"receivers": [receiver(secret="plain")]}, "receiver 'pager': a secret must be whsec_"),
        ({"receivers": [receiver(secret=new_secret(), secret_file="x")]}, "set secret or secret_file, not both"),
        ({"receivers": [receiver(timeout="5m")]}, "timeout must be 100ms to 60s, got 5m"),
        ({"receivers": [receiver(colour="red")]}, "colour"),
        ({"receivers": [receiver(max_alerts=0)]}, "max_alerts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(given, says):
    """What must hold, what was given, and no secret."""
    with pytest.raises(ValidationError, match=re.escape(says)) as caught:
        AlertsConfig(**given)
    assert "T0/secret" not in str(caught.value)


def test_a_secret_may_lie_in_a_file(tmp_path):
    """It is read when the receiver is set up; what is wrong names the file, not its content."""
    file = tmp_path / "key"
    config = AlertsConfig(receivers=[receiver(secret_file=str(file))])
    with pytest.raises(ReceiverError, match=r"secret_file must be readable, got .*key: No such file"):
        config.receivers[0].settings()
    file.write_text("hunter2")
    with pytest.raises(ReceiverError, match=r"secret_file .*key: a secret must be whsec_") as caught:
        config.receivers[0].settings()
    assert "hunter2" not in str(caught.value)
    file.write_text(new_secret() + "\n")
    assert len(config.receivers[0].settings().key) == 32


def test_secrets_are_not_shown():
    """Neither repr nor a dump holds the secret or the URL's path."""
    secret = new_secret()
    config = AlertsConfig(receivers=[receiver(secret=secret)])
    shown = f"{config!r}{config.model_dump()}{config.receivers[0].settings()!r}"
    assert secret not in shown
    assert "T0/secret" not in shown
