"""Attributes as labels."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ninesight_collector.names import label_name
from ninesight_collector.otlp.exponential import PointError
from ninesight_collector.otlp.settings import OtlpSettings

__all__ = ["LABELS_CHARACTERS_MAX", "check_labels", "point_labels", "resource_labels", "text_of"]

LABELS_CHARACTERS_MAX = 60_000
"""Just under what the store takes for one series, so that one point cannot cost a whole batch."""


def text_of(value: AnyValue) -> str:
    """Return an attribute value as label text: strings as they are, lists and maps as JSON."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True)


def point_labels(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Return the labels of a point. Attributes that fall on one name are joined by ";", sorted by key."""
    labels: dict[str, str] = {}
    for attribute in sorted(attributes, key=lambda pair: pair.key):
        if not attribute.key:
            continue
        name, text = label_name(attribute.key), text_of(attribute.value)
        labels[name] = f"{labels[name]};{text}" if name in labels else text
    return labels


def resource_labels(resource: Resource, settings: OtlpSettings) -> dict[str, str]:
    """Return job, instance and the allowed resource attributes.

    job is service.namespace "/" service.name, instance is service.instance.id.
    """
    attributes = {attribute.key: text_of(attribute.value) for attribute in resource.attributes}
    labels = {label_name(key): attributes[key] for key in settings.resource_labels if attributes.get(key)}
    if service := attributes.get("service.name"):
        namespace = attributes.get("service.namespace")
        labels["job"] = f"{namespace}/{service}" if namespace else service
    if instance := attributes.get("service.instance.id"):
        labels["instance"] = instance
    return labels


def check_labels(labels: dict[str, str], settings: OtlpSettings) -> None:
    """Raise PointError where a series has too many labels, too long a value or too much of both."""
    if len(labels) > settings.labels_max:
        raise PointError(
            f"a series must have at most {settings.labels_max} labels, got {len(labels)}; send fewer attributes",
            "labels",
        )
    total = 0
    for name, value in labels.items():
        size = max(len(value), len(name))
        total += len(value) + len(name)
        if size > settings.label_value_bytes_max:
            raise PointError(
                f"a label must have at most {settings.label_value_bytes_max} characters, "
                f'got {size} in "{name[:80]}"; shorten the attribute',
                "label_value",
            )
    if total > LABELS_CHARACTERS_MAX:
        raise PointError(
            f"the labels of a series must have at most {LABELS_CHARACTERS_MAX} characters in all, got {total}; "
            "send fewer or shorter attributes",
            "labels",
        )


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: _plain(item.value) for item in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode("ascii")
    plain: object = getattr(value, kind)
    return plain
