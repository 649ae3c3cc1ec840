"""Writing metadata: the last entry of a metric wins, whichever process writes it. Lives inside write transactions.

Senders repeat their metadata with every batch, so what the table holds is remembered. `store_info` counts its changes,
and every transaction reads that anyway: when another process changed anything, what was remembered is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from ninesight_store.contract import Metadata
from ninesight_store.schema import info, metadata

__all__ = ["METADATA_CHANGES", "MetadataWriter"]

METADATA_CHANGES = "metadata_changes"
"""The key in `store_info`; absent until there was metadata."""
_REMEMBERED_MAX = 100_000
_TOGETHER = 500


class MetadataWriter:
    """Used by one transaction at a time, in this order: `begin`, any number of `write`."""

    def __init__(self) -> None:
        self._known: dict[str, Metadata] = {}
        self._changes = -1

    def begin(self, changes: int) -> None:
        """Start a transaction that sees the table after so many changes."""
        if changes != self._changes or len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
            self._changes = changes

    def forget(self) -> None:
        """Forget everything; call it when the transaction failed."""
        self._known.clear()
        self._changes = -1

    def write(self, connection: sa.Connection, entries: Iterable[Metadata]) -> None:
        """Keep the entries; of one metric the last counts."""
        wanted = {entry.metric: entry for entry in entries}
        self._look_up(connection, [name for name in wanted if name not in self._known])
        changed = {name: entry for name, entry in wanted.items() if self._known.get(name) != entry}
        if not changed:
            return
        for names in _parts(list(changed)):
            connection.execute(sa.delete(metadata).where(metadata.c.metric.in_(names)))
        rows = [
            {"metric": entry.metric, "kind": entry.kind, "unit": entry.unit, "help": entry.help}
            for entry in changed.values()
        ]
        connection.execute(sa.insert(metadata), rows)
        self._known |= changed
        self._count(connection)

    def _look_up(self, connection: sa.Connection, missing: list[str]) -> None:
        for names in _parts(missing):
            found = connection.execute(sa.select(metadata).where(metadata.c.metric.in_(names)))
            self._known |= {row.metric: Metadata(*row) for row in found}

    def _count(self, connection: sa.Connection) -> None:
        self._changes += 1
        key = info.c.key == METADATA_CHANGES
        if not connection.execute(sa.update(info).where(key).values(value=self._changes)).rowcount:
            connection.execute(sa.insert(info).values(key=METADATA_CHANGES, value=self._changes))


def _parts(names: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(names), _TOGETHER):
        yield names[at : at + _TOGETHER]
