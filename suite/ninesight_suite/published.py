"""The configuration as anyone who may ask the API sees it: effective values, no secret among them.

Masked are: every secret field, whatever a key's name says is one, and logins and parameters in addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretBytes, SecretStr

__all__ = ["MASK", "masked_url", "published"]

MASK = "<secret>"
_SECRET_KEY = re.compile(r"secret|token|password|passwd|credential|api_?key|authorization", re.IGNORECASE)
_FILE_KEY = re.compile(r"(_file|_path)$")
_URL = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)$", re.DOTALL)


def published(config: BaseModel) -> str:
    """Return the configuration as YAML."""
    text: str = yaml.safe_dump(_shown(config.model_dump(mode="python"), ""), sort_keys=False)
    return text


def masked_url(url: str) -> str:
    """Return an address without login and parameters: either may hold a secret.

    >>> masked_url("postgresql://me:pw@db/ninesight?sslpassword=x")
    'postgresql://<secret>@db/ninesight?<secret>'
    """
    found = _URL.match(url)
    if found is None:
        return url
    scheme, authority, path, rest = found.groups()
    login, at, host = authority.rpartition("@")
    return f"{scheme}://{MASK if login else ''}{at}{host}{path}{'?' + MASK if rest else ''}"


def _shown(value: Any, key: str) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, Mapping):
        return {str(name): _shown(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_shown(item, key) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        if value and _SECRET_KEY.search(key) and not _FILE_KEY.search(key):
            return MASK
        # A plain text: enumerations are texts too, and YAML knows none of them.
        return masked_url(str(value))
    return value if value is None or isinstance(value, bool | int | float) else str(value)
