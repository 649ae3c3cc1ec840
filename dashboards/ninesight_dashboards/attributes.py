"""HTML attributes with a dash in their name, as keyword arguments for components."""

from __future__ import annotations

from typing import Any

__all__ = ["aria", "data"]


def aria(**values: str) -> dict[str, Any]:
    """Return `aria-*` attributes: `aria(label="Pages")` gives {"aria-label": "Pages"}."""
    return _prefixed("aria", values)


def data(**values: str) -> dict[str, Any]:
    """Return `data-*` attributes; an underscore in a name becomes a dash."""
    return _prefixed("data", values)


def _prefixed(prefix: str, values: dict[str, str]) -> dict[str, Any]:
    return {f"{prefix}-{name.replace('_', '-')}": value for name, value in values.items()}
