"""The three shapes of protobuf that the exposition needs, written by hand: no generated code, no import.

Field = varint(number << 3 | wire type), then the value (protobuf encoding guide).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ["field_bytes", "field_double", "field_packed_sint", "field_sint", "field_uint", "varint"]

_DOUBLE = struct.Struct("<d").pack


def varint(value: int) -> bytes:
    """Encode a value in 0 .. 2^64-1."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_uint(number: int, value: int) -> bytes:
    """Encode an unsigned integer or enum field."""
    return varint(number << 3) + varint(value)


def field_sint(number: int, value: int) -> bytes:
    """Encode a sint32 or sint64 field (zigzag)."""
    return varint(number << 3) + varint(_zigzag(value))


def field_double(number: int, value: float) -> bytes:
    """Encode a double field."""
    return varint(number << 3 | 1) + _DOUBLE(value)


def field_bytes(number: int, value: bytes | str) -> bytes:
    """Encode a string, bytes or message field."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def field_packed_sint(number: int, values: Iterable[int]) -> bytes:
    """Encode a packed repeated sint64 field; nothing for no values."""
    data = b"".join(varint(_zigzag(value)) for value in values)
    return field_bytes(number, data) if data else b""


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1
