"""The contract suite, run on every store."""

from __future__ import annotations

import pytest
from ninesight_store import LocalStore
from ninesight_store.testing import MemoryStore, SinkSourceContract


class TestMemoryStore(SinkSourceContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestLocalStore(SinkSourceContract):
    @pytest.fixture
    def store(self, tmp_path):
        with LocalStore(tmp_path / "store.db") as store:
            yield store


class TestSealedStore(SinkSourceContract):
    """Every batch is sealed and merged as soon as it is written."""

    @pytest.fixture
    def store(self, tmp_path):
        with SealingStore(tmp_path / "store.db") as store:
            yield store


class SealingStore(LocalStore):
    def write(self, batch):
        super().write(batch)
        self.seal(2**53)
        self.merge(2**53)


class TestPostgresStore(SinkSourceContract):
    @pytest.fixture
    def store(self, postgres):
        with LocalStore(postgres.url()) as store:
            yield store


class TestSealedPostgresStore(SinkSourceContract):
    """The same, sealed and merged at once."""

    @pytest.fixture
    def store(self, postgres):
        with SealingStore(postgres.url()) as store:
            yield store
