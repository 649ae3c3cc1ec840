"""A store in memory with the real engine over it, filled from exact requests."""

import pytest
from ninesight_query.engine import LocalEngine
from ninesight_store.testing import MemoryStore, Point, batch_of


class CountingEngine:
    """The real engine, counting what it is asked."""

    def __init__(self, engine):
        self._engine = engine
        self.queries = []

    @property
    def capabilities(self):
        return self._engine.capabilities

    def instant(self, query, at_ms):
        self.queries.append(query)
        return self._engine.instant(query, at_ms)

    def range(self, query, start_ms, end_ms, step_ms):
        self.queries.append(query)
        return self._engine.range(query, start_ms, end_ms, step_ms)


class World:
    """A store, its engine, and the means to fill it."""

    def __init__(self):
        self.store = MemoryStore()
        self.engine = CountingEngine(LocalEngine(self.store))

    def add(self, *samples):
        """Write samples as `ninesight_analytics.testing` makes them."""
        for each in samples:
            self.store.write(batch_of(each))

    def serve(self, *traffics, times, native=True, bounds=()):
        """Write what models served."""
        for traffic in traffics:
            self.add(traffic.samples(times, point=Point if native else None, bounds=bounds))


@pytest.fixture
def world():
    """An empty world."""
    return World()


@pytest.fixture(scope="session")
def new_world():
    """Worlds for tests that need many."""
    return World
