"""Signatures and headers after Standard Webhooks 1.0: `{id}.{timestamp}.{body}` under HMAC-SHA256.

The id is the notification's, the same for every attempt: receivers use it to drop doubles. The
timestamp is the attempt's, so that a receiver can refuse a replay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from ninesight_alerts.contract import Notification
from ninesight_alerts.errors import ReceiverError

__all__ = ["delivery_headers", "new_secret", "secret_key", "signature"]

_PREFIX = "whsec_"


def new_secret() -> str:
    """Return a fresh secret, 32 random bytes as `whsec_...`."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_key(secret: str) -> bytes:
    """Return the bytes of a `whsec_` secret. Raises ReceiverError; the message never holds the secret."""
    form = "a secret must be whsec_ and base64 of 24 to 64 bytes, as `openssl rand -base64 32` gives them"
    if not secret.startswith(_PREFIX):
        raise ReceiverError(f"{form}; got one without the prefix")
    try:
        key = base64.b64decode(secret[len(_PREFIX) :], validate=True)
    except binascii.Error:
        raise ReceiverError(f"{form}; got one that is not base64") from None
    if not 24 <= len(key) <= 64:
        raise ReceiverError(f"{form}; got one of {len(key)} bytes")
    return key


def signature(key: bytes, notification_id: str, timestamp_s: int, body: bytes) -> str:
    """Return `v1,` and the base64 signature."""
    signed = b"%s.%d.%s" % (notification_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def delivery_headers(notification: Notification, key: bytes | None, now_ms: int) -> dict[str, str]:
    """Return the headers of one attempt; signed where there is a key."""
    timestamp_s = now_ms // 1000
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ninesight",
        "Connection": "close",
        "Idempotency-Key": notification.id,
        "webhook-id": notification.id,
        "webhook-timestamp": str(timestamp_s),
    }
    if key is not None:
        headers["webhook-signature"] = signature(key, notification.id, timestamp_s, notification.body)
    return headers
