"""The contract suite, run on every store."""

from __future__ import annotations

import pytest
from ninesight_store.testing import MemoryStore, SinkSourceContract


class TestMemoryStore(SinkSourceContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()
