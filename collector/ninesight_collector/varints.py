"""The smallest pieces of protobuf, written."""

from __future__ import annotations

__all__ = ["delimited", "varint", "zigzag"]


def varint(number: int) -> bytes:
    """Return a number as a varint; a negative one as its 64-bit two's complement."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> bytes:
    """Return a number as a sint32 or sint64."""
    return varint((number << 1) ^ (number >> 63))


def delimited(field: int, body: bytes) -> bytes:
    """Return a length-delimited field below 16."""
    return bytes((field << 3 | 2,)) + varint(len(body)) + body


_SMALL = [bytes((number,)) for number in range(0x80)]
