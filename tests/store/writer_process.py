"""A process that writes ticks to a store and prints each one's number once it was acknowledged.

writer_process.py URL FIRST COUNT SEAL_EVERY WAIT_EVERY

After every WAIT_EVERY ticks it waits for a byte of its standard input; 0 waits for nothing.
"""

from __future__ import annotations

import os
import sys

from ninesight_store import LocalStore, StoreSettings, labels_of
from ninesight_store.testing import Point, batch_of

SERIES, POINTS = 40, 3


def tick_of(tick):
    at_ms = tick * 60_000
    samples = {labels_of("m", {"i": str(i)}): [(at_ms, tick * 1000.0 + i + 0.125)] for i in range(SERIES)}
    point = Point(tick + 1.0, tick * 0.5, {1: 1.0, 4: float(tick)}, schema=3)
    return batch_of(samples | {labels_of("h", {"i": str(i)}): [(at_ms, point)] for i in range(POINTS)})


def main():
    url, (first, count, seal_every, wait_every) = sys.argv[1], map(int, sys.argv[2:])
    with LocalStore(url, StoreSettings(seal_after_ms=0, merge_hours=2)) as store:
        for tick in range(first, first + count):
            store.write(tick_of(tick))
            os.write(1, b"%d\n" % tick)
            if seal_every and tick % 5 == 0:
                store.fold(fresh=True)
            if seal_every and tick % seal_every == 0:
                store.seal(tick * 60_000)
                store.merge(tick * 60_000)
            if wait_every and (tick + 1) % wait_every == 0:
                os.read(0, 1)


if __name__ == "__main__":
    main()
