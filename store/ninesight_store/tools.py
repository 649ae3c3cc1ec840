"""What the jobs of upkeep (sealing, folding, merging, filling in, dropping) all work with."""

from __future__ import annotations

from typing import NamedTuple

from ninesight_store.catalog import Catalog
from ninesight_store.config import StoreSettings
from ninesight_store.damage import DamageLog
from ninesight_store.database import Database
from ninesight_store.writer import Writer

__all__ = ["Tools"]


class Tools(NamedTuple):
    """Of one opened store, shared by its jobs."""

    database: Database
    catalog: Catalog
    writer: Writer
    settings: StoreSettings
    damage: DamageLog
