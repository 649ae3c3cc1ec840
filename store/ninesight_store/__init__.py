"""Keep samples and histograms durably; hand them back as numpy columns."""

from ninesight_store.config import StoreConfig, StoreSettings
from ninesight_store.contract import (
    STALE_BITS,
    STALE_NAN,
    Batch,
    Columns,
    HistogramColumns,
    Labels,
    Matcher,
    MatchOp,
    Metadata,
    ResetHint,
    SeriesTable,
    Sink,
    Source,
    labels_of,
)
from ninesight_store.errors import (
    MatcherError,
    PermanentError,
    RetryableError,
    StoreError,
    StoreFormatError,
)
from ninesight_store.local import LocalStore
from ninesight_store.maintenance import Maintenance, MaintenanceStat
from ninesight_store.memory import MemoryStore
from ninesight_store.reports import MergeReport, RetainReport, SealReport, StoreStat

__all__ = [
    "STALE_BITS",
    "STALE_NAN",
    "Batch",
    "Columns",
    "HistogramColumns",
    "Labels",
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
    "ResetHint",
    "RetainReport",
    "RetryableError",
    "SealReport",
    "SeriesTable",
    "Sink",
    "Source",
    "StoreConfig",
    "StoreError",
    "StoreFormatError",
    "StoreSettings",
    "StoreStat",
    "labels_of",
]
