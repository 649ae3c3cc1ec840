"""`Selection`: the series that a selector chose, and how their ids are found in rows and chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int32, Int64, Labels

__all__ = ["Picks", "Selection", "selection_of"]

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """Chosen series, sorted by labels."""

    labels: tuple[Labels, ...]
    ids: Int64
    """[S] ids in the order of `labels`."""
    base: int
    """The lowest id: the columns below begin there, so they are as long as the ids are apart."""
    wanted: Bool
    """Whether the id was chosen."""
    rank: Int32
    """Row in `labels`; 0 where not chosen."""

    @property
    def nbytes(self) -> int:
        """Memory it holds; the strings are the index's."""
        pairs = sum(len(labels) for labels in self.labels)
        return self.ids.nbytes + self.wanted.nbytes + self.rank.nbytes + 8 * pairs + 64 * len(self.labels)

    def among(self, ids: Int64) -> Bool:
        """Return for each id whether it was chosen."""
        places = ids - self.base
        inside = (places >= 0) & (places < len(self.wanted))
        if inside.all():
            return self.wanted[places]
        return self.wanted[np.where(inside, places, 0)] & inside

    def ranks(self, ids: Int64) -> Int64:
        """Return the rows of chosen ids."""
        return self.rank[ids - self.base].astype(np.int64)


@dataclass(frozen=True)
class Picks:
    """Where the chosen series stand in several layouts."""

    numbers: Int64
    """[L] the layouts, ascending."""
    widths: Int64
    """[L] how many series each has."""
    owners: Int64
    """[P] which of the layouts, ascending."""
    positions: Int64
    """[P] where in that layout, ascending within it."""
    ranks: Int64
    """[P] row of the series in the selection's `labels`."""

    def holding(self) -> set[int]:
        """Return the numbers of the layouts that have chosen series."""
        return set(self.numbers[np.unique(self.owners)].tolist())

    def doubled(self) -> set[int]:
        """Return the numbers of the layouts in which a chosen series stands more than once."""
        order = np.lexsort((self.ranks, self.owners))
        owners, ranks = self.owners[order], self.ranks[order]
        same = (owners[1:] == owners[:-1]) & (ranks[1:] == ranks[:-1])
        return set(self.numbers[np.unique(owners[1:][same])].tolist())


def selection_of(labels: tuple[Labels, ...], ids: Int64) -> Selection:
    """Return a selection of these ids in this order."""
    base = int(ids.min()) if len(ids) else 0
    top = int(ids.max()) - base + 1 if len(ids) else 1
    wanted = np.zeros(top, np.bool_)
    wanted[ids - base] = True
    rank = np.zeros(top, np.int32)
    rank[ids - base] = np.arange(len(ids))
    return Selection(labels, ids, base, wanted, rank)
