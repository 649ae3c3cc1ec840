"""The number that names an alert: FNV-1a of its labels, as Prometheus and Alertmanager compute it.

For each label in name order the hash takes name, byte 255, value, byte 255.
"""

from __future__ import annotations

from ninesight_query.contract import Labels

__all__ = ["fingerprint"]

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_MASK = (1 << 64) - 1


def fingerprint(labels: Labels) -> str:
    """Return 16 hexadecimal digits; the same labels give the same digits in every process.

    >>> fingerprint((("alertname", "TooSlow"),))
    '1fa665e85d0e1173'
    """
    state = _OFFSET
    for name, value in labels:
        for text in (name, value):
            for byte in (*text.encode("utf-8", "surrogatepass"), 255):
                state = ((state ^ byte) * _PRIME) & _MASK
    return f"{state:016x}"
