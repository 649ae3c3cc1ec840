"""Protobuf messages declared in the code that reads them, rather than generated from a `.proto`.

    declared("ninesight.example", {"Label": "name string 1, value string 2", "Row": "label *Label 1, at int64 2"})

A field reads `name kind number`; `*` before the kind marks a repeated field, a kind that is no scalar names a
message declared beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pool, message_factory

from ninesight_collector.varints import delimited, varint

__all__ = ["declared"]

# Numbers of descriptor.proto. What declares is written as bytes: the classes that would do it take 2 MB of memory.
_TYPES = {
    "double": 1,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
    "sint32": 17,
    "sint64": 18,
}
_MESSAGE = 11
_OPTIONAL, _REPEATED = 1, 3


def declared(package: str, messages: Mapping[str, str]) -> dict[str, Any]:
    """Return the message classes by name. `package` is used once in a process."""
    pool = descriptor_pool.DescriptorPool()
    # proto3, also where the original is proto2: only then is text checked to be UTF-8 while it is parsed.
    pool.AddSerializedFile(
        _text(1, f"{package.replace('.', '/')}.proto")
        + _text(2, package)
        + b"".join(delimited(4, _message(package, name, fields)) for name, fields in messages.items())
        + _text(12, "proto3")
    )
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _message(package: str, name: str, fields: str) -> bytes:
    """Return a DescriptorProto."""
    return _text(1, name) + b"".join(delimited(2, _field(package, field)) for field in fields.split(", "))


def _field(package: str, field: str) -> bytes:
    """Return a FieldDescriptorProto."""
    label, kind, number = field.split()
    repeated, kind = kind.startswith("*"), kind.removeprefix("*")
    written = (
        _text(1, label)
        + _number(3, int(number))
        + _number(4, _REPEATED if repeated else _OPTIONAL)
        + _number(5, _TYPES.get(kind, _MESSAGE))
    )
    return written if kind in _TYPES else written + _text(6, f".{package}.{kind}")


def _text(field: int, text: str) -> bytes:
    return delimited(field, text.encode())


def _number(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)
