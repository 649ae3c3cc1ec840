"""The labels of a series as both versions write them: checked, sorted, bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ninesight_store.contract import Labels

from ninesight_collector.remote_write.refusals import LabelsError
from ninesight_collector.remote_write.settings import ReceiverSettings
from ninesight_collector.remote_write.wire import fields_of

__all__ = ["check_pairs", "pairs_v1", "pairs_v2", "shown"]

_LABELS_CHARACTERS_MAX = 60_000
"""Just under what the store takes for one series, so that one series cannot cost a whole request."""

_LABEL, _NAME, _VALUE = 1, 1, 2
_SHOWN = 200


def pairs_v1(region: bytes) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of `Label` messages one after another. Raises LabelsError, WireError."""
    pairs: list[tuple[str, str]] = []
    for number, start, end in fields_of(region):
        if number != _LABEL:
            continue
        label = region[start:end]
        texts = {_NAME: b"", _VALUE: b""}
        for field, begin, until in fields_of(label):
            texts[field] = label[begin:until]
        try:
            pairs.append((texts[_NAME].decode(), texts[_VALUE].decode()))
        except UnicodeDecodeError as error:
            raise LabelsError(f"labels must be UTF-8, got {region[:_SHOWN]!r}", "labels") from error
    return pairs


def pairs_v2(symbols: Sequence[str], refs: Sequence[int]) -> list[tuple[str, str]]:
    """Return the pairs that references name. Raises LabelsError."""
    if len(refs) % 2:
        raise LabelsError(f"labels_refs must come in pairs, got {len(refs)}", "labels")
    if refs and not 0 <= min(refs) <= max(refs) < len(symbols):
        raise LabelsError(
            f"labels_refs must lie within the {len(symbols)} symbols, got {min(refs)}..{max(refs)}", "labels"
        )
    texts = [symbols[ref] for ref in refs]
    return list(zip(texts[::2], texts[1::2], strict=True))


def check_pairs(
    pairs: Iterable[tuple[str, str]], settings: ReceiverSettings, *, named: bool = True
) -> Labels:
    """Return canonical labels; empty values mean no label. Raises LabelsError."""
    labels: dict[str, str] = {}
    for name, value in pairs:
        if not name:
            raise LabelsError(f'a label must have a name, got ""="{value[:_SHOWN]}"', "labels")
        if name in labels:
            raise LabelsError(f'a label must stand once, got "{name[:_SHOWN]}" twice', "labels")
        labels[name] = value
    found = tuple(sorted((name, value) for name, value in labels.items() if value))
    if named and not labels.get("__name__"):
        raise LabelsError(f"a series must have a metric name (__name__), got {shown(found)}", "name")
    if len(found) > settings.labels_max:
        raise LabelsError(
            f"a series must have at most {settings.labels_max} labels, got {len(found)} in {shown(found)}",
            "labels",
        )
    longest = max((max(len(name), len(value)) for name, value in found), default=0)
    if longest > settings.label_value_bytes_max:
        raise LabelsError(
            f"a label must have at most {settings.label_value_bytes_max} characters, "
            f"got {longest} in {shown(found)}",
            "labels",
        )
    if sum(len(name) + len(value) for name, value in found) > _LABELS_CHARACTERS_MAX:
        raise LabelsError(
            f"a series must have at most {_LABELS_CHARACTERS_MAX} characters of labels, got more in {shown(found)}",
            "labels",
        )
    return found


def shown(labels: Labels) -> str:
    """Return a series as PromQL writes it, cut at a bearable length."""
    name = dict(labels).get("__name__", "")
    inner = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
    text = f"{name}{{{inner}}}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
