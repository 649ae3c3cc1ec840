"""Columns that grow: numpy arrays with room to spare, so that adding is cheap and reading costs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Growing"]

_ROOM_MIN = 64


class Growing:
    """One column. Not safe to change from two threads; what `all` returned stays valid."""

    def __init__(self, dtype: Any, start: npt.ArrayLike = ()) -> None:
        self._data: npt.NDArray[Any] = np.array(start, dtype)
        self._size = len(self._data)

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self._data.nbytes

    def all(self) -> npt.NDArray[Any]:
        """Return what is there, as a view."""
        return self._data[: self._size]

    def extend(self, more: npt.ArrayLike) -> None:
        """Add numbers at the end."""
        fresh = np.asarray(more, self._data.dtype)
        size = self._size + len(fresh)
        if size > len(self._data):
            # A quarter more: large columns must not double.
            data = np.empty(size + max(_ROOM_MIN, size // 4), self._data.dtype)
            data[: self._size] = self._data[: self._size]
            self._data = data
        self._data[self._size : size] = fresh
        self._size = size
