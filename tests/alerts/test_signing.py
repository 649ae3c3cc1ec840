"""Signatures after Standard Webhooks."""

import base64
import hashlib
import hmac

import pytest
from ninesight_alerts import ReceiverError, new_secret
from ninesight_alerts.signing import delivery_headers, secret_key, signature
from ninesight_alerts.testing import notification_of


def test_it_equals_the_published_vector():
    """Id, time, body and secret of the standard's own libraries give their signature."""
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_receiver_can_check_the_headers():
    """The id names the notification in two headers; the time is the attempt's; the MAC covers id, time and body."""
    secret = new_secret()
    headers = delivery_headers(notification_of("msg_7", b'{"a":1}'), secret_key(secret), 1_700_000_123_456)
    assert headers["webhook-id"] == headers["Idempotency-Key"] == "msg_7"
    assert headers["webhook-timestamp"] == "1700000123"
    mac = hmac.new(base64.b64decode(secret[6:]), b'msg_7.1700000123.{"a":1}', hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


def test_without_a_secret_nothing_is_signed():
    """The id is there all the same."""
    headers = delivery_headers(notification_of("msg_7"), None, 0)
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == "msg_7"


@pytest.mark.parametrize(
    "secret", ["hunter2hunter2hunter2", "whsec_???", "whsec_c2hvcnQ=", "whsec_" + "QUJD" * 40]
)
def test_a_secret_of_wrong_form_is_refused_and_not_shown(secret):
    """The error says the form and the way out, never the secret."""
    with pytest.raises(ReceiverError, match="a secret must be whsec_ and base64 of 24 to 64 bytes") as caught:
        secret_key(secret)
    assert secret not in str(caught.value)
