"""Keep samples and histograms durably; hand them back as numpy columns.

The database is imported with the first use of `LocalStore`: an agent that only makes batches never pays for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ninesight_store.config import StoreConfig, StoreSettings
from ninesight_store.contract import (
    STALE_BITS,
    STALE_NAN,
    Batch,
    Columns,
    Exemplar,
    ExemplarColumns,
    HistogramColumns,
    Labels,
    Matcher,
    MatchOp,
    Metadata,
    ResetHint,
    SeriesExemplars,
    SeriesTable,
    Sink,
    Source,
    labels_of,
)
from ninesight_store.cover import Cover
from ninesight_store.damage import Damage
from ninesight_store.errors import (
    Amount,
    FullError,
    LateError,
    MatcherError,
    PermanentError,
    RetryableError,
    StoreError,
    StoreFormatError,
)
from ninesight_store.memory import MemoryStore
from ninesight_store.progress import Progress
from ninesight_store.reports import FillReport, FoldReport, MergeReport, RetainReport, SealReport, StoreStat
from ninesight_store.rollup import ROLLUP_COLUMNS, ROLLUP_MS, FloatBins, Rollup, rollup_of
from ninesight_store.sheets import FAR_FUTURE, Sheet

if TYPE_CHECKING:
    from ninesight_store.copies import BackupReport, backup, restore
    from ninesight_store.exporter import ExportFormat, ExportReport, export
    from ninesight_store.local import LocalStore
    from ninesight_store.maintenance import Maintenance, MaintenanceStat
    from ninesight_store.verification import VerifyReport, verify

__all__ = [
    "FAR_FUTURE",
    "ROLLUP_COLUMNS",
    "ROLLUP_MS",
    "STALE_BITS",
    "STALE_NAN",
    "Amount",
    "BackupReport",
    "Batch",
    "Columns",
    "Cover",
    "Damage",
    "Exemplar",
    "ExemplarColumns",
    "ExportFormat",
    "ExportReport",
    "FillReport",
    "FloatBins",
    "FoldReport",
    "FullError",
    "HistogramColumns",
    "Labels",
    "LateError",
    "LocalStore",
    "Maintenance",
    "MaintenanceStat",
    "MatchOp",
    "Matcher",
    "MatcherError",
    "MemoryStore",
    "MergeReport",
    "Metadata",
    "PermanentError",
    "Progress",
    "ResetHint",
    "RetainReport",
    "RetryableError",
    "Rollup",
    "SealReport",
    "SeriesExemplars",
    "SeriesTable",
    "Sheet",
    "Sink",
    "Source",
    "StoreConfig",
    "StoreError",
    "StoreFormatError",
    "StoreSettings",
    "StoreStat",
    "VerifyReport",
    "backup",
    "export",
    "labels_of",
    "restore",
    "rollup_of",
    "verify",
]

_LATE = {
    "BackupReport": "ninesight_store.copies",
    "ExportFormat": "ninesight_store.exporter",
    "ExportReport": "ninesight_store.exporter",
    "LocalStore": "ninesight_store.local",
    "Maintenance": "ninesight_store.maintenance",
    "MaintenanceStat": "ninesight_store.maintenance",
    "VerifyReport": "ninesight_store.verification",
    "backup": "ninesight_store.copies",
    "export": "ninesight_store.exporter",
    "restore": "ninesight_store.copies",
    "verify": "ninesight_store.verification",
}


def __getattr__(name: str) -> Any:
    """Import a name of the database's when it is first asked for (PEP 562)."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value
