"""The labels of a target on the series of its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ninesight_store.contract import Labels, labels_of

from ninesight_collector.names import format_float

__all__ = ["TargetLabels"]


@dataclass(frozen=True, slots=True)
class TargetLabels:
    """job, instance and more, put on every series of a page.

    Where the page has one of them itself, the page's becomes `exported_<name>`, or stays if `honour`.
    """

    labels: Mapping[str, str]
    honour: bool = False

    def series(self, name: str, labels: dict[str, str]) -> Labels:
        """Return the series of a page's metric and labels; `le` and `quantile` in one spelling."""
        if "le" in labels and name.endswith("_bucket"):
            labels["le"] = _normal(labels["le"])
        if "quantile" in labels:
            labels["quantile"] = _normal(labels["quantile"])
        for label, value in self.labels.items():
            if labels.get(label):
                if self.honour:
                    continue
                exported = f"exported_{label}"
                while exported in labels:
                    exported = f"exported_{exported}"
                labels[exported] = labels[label]
            labels[label] = value
        return labels_of(name, labels)


def _normal(text: str) -> str:
    try:
        return format_float(float(text))
    except ValueError:
        return text
