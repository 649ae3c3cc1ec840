"""What this process moved: sealing and merging put samples elsewhere and change none.

Every transaction that seals, merges or retires raises a number in `store_info`. A reader that keeps what it read
follows this process' moves from the number it knew to the present one. Where another process moved something in
between, or something was retired, the chain is broken, and the reader reads anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from ninesight_store.registry import Registry
from ninesight_store.schema import info

__all__ = ["MOVES", "Move", "Moves", "raise_moves"]

MOVES = "moves"
"""The key in `store_info`; absent until something moved."""

_MOVES_MAX = 10_000
Work = Callable[[sa.Connection, Registry], None]


def raise_moves(connection: sa.Connection) -> int:
    """Say that samples were moved or retired, inside a write transaction; return the new number."""
    raised = sa.update(info).where(info.c.key == MOVES).values(value=info.c.value + 1)
    if not connection.execute(raised).rowcount:
        connection.execute(sa.insert(info).values(key=MOVES, value=1))
    number = connection.execute(sa.select(info.c.value).where(info.c.key == MOVES)).scalar_one()
    return int(number)


@dataclass(slots=True)
class Move:
    """One transaction that turned hot rows or chunks into chunks."""

    row_last: int
    """Highest id of a hot row that went; 0 for a merge."""
    number: int = 0
    """What it raised the number of moves to."""


class Moves:
    """The moves since the process opened the store, the last of them. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moves: deque[Move] = deque(maxlen=_MOVES_MAX)

    def do(self, alone: Callable[[Work], None], work: Work, row_last: int) -> None:
        """Run `work` by `alone` and take down what moved. Raises what they raise; then nothing moved."""
        move = Move(row_last)

        def noted(connection: sa.Connection, registry: Registry) -> None:
            work(connection, registry)
            move.number = raise_moves(connection)

        alone(noted)
        with self._lock:
            self._moves.append(move)

    def lead(self, start: int, end: int, row_seen: int) -> bool:
        """Whether all that happened from number `start` to `end` were moves here, of rows up to `row_seen`."""
        if start == end:
            return True
        with self._lock:
            numbers = {move.number for move in self._moves if move.row_last <= row_seen}
        return start < end and end - start <= _MOVES_MAX and numbers.issuperset(range(start + 1, end + 1))
