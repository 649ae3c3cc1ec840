"""How the labels of a series are stored, and the key under which a series is unique."""

from __future__ import annotations

import hashlib
import json

import orjson

from ninesight_store.contract import Labels

__all__ = ["labels_from_text", "labels_key", "labels_text"]


def labels_text(labels: Labels) -> str:
    """Return the stored form: a JSON list of [name, value] pairs."""
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def labels_from_text(text: str | bytes) -> Labels:
    """Read the stored form. Raises ValueError or TypeError if it is damaged."""
    labels = tuple([(name, value) for name, value in orjson.loads(text)])
    if not all(type(name) is type(value) is str for name, value in labels):
        raise ValueError("labels must be pairs of text")
    return labels


def labels_key(text: str) -> bytes:
    """Return the 16 bytes under which a series is unique."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
