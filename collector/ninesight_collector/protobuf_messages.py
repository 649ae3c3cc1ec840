"""Protobuf messages declared in the code that reads them, rather than generated from a `.proto`.

    declared("ninesight.example", {"Label": "name string 1, value string 2", "Row": "label *Label 1, at int64 2"})

A field reads `name kind number`; `*` before the kind marks a repeated field, a kind that is no scalar names a
message declared beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["declared"]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "uint64": _Field.TYPE_UINT64,
    "uint32": _Field.TYPE_UINT32,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
}


def declared(package: str, messages: Mapping[str, str]) -> dict[str, Any]:
    """Return the message classes by name. `package` is used once in a process."""
    # proto3, also where the original is proto2: only then is text checked to be UTF-8 while it is parsed.
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            label, kind, number = field.split()
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            one = message.field.add(
                name=label,
                number=int(number),
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_SCALARS.get(kind, _Field.TYPE_MESSAGE),
            )
            if kind not in _SCALARS:
                one.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }
