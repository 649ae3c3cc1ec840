"""Backup and restore: a whole copy of the store in one file, by SQLite's online backup.

    backup    one read snapshot ──► TARGET.partial ──► synced ──► named TARGET
    restore   verify the backup ──► copy the same way ──► verify the copy ──► named TARGET

The snapshot is held from the first page to the last, so writers go on meanwhile and never make the copy
start again; what they write after its beginning is not in it. A name that ends in .partial is unfinished.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ninesight_store.backend_sqlite import SqliteBackend
from ninesight_store.config import StoreSettings
from ninesight_store.database import Database
from ninesight_store.errors import RetryableError, StoreError, StoreFormatError
from ninesight_store.progress import Progress, Told, unheard
from ninesight_store.verification import VerifyReport, verify

__all__ = ["BackupReport", "backup", "restore"]

_PAGES = 2048
_TRANSIENT = ("full", "locked", "busy", "i/o error", "unable to open")
"""What SQLite says of a disk that may recover; all else is said of a file that is no store."""
_BUSY_S = 30.0


@dataclass(frozen=True)
class BackupReport:
    """A finished copy."""

    path: Path
    bytes: int
    verified: VerifyReport | None = None
    """What the copy's verification found; None if it was not asked for."""


def backup(url: str | Path, target: Path, *, told: Told = unheard) -> BackupReport:
    """Copy the store into the new file `target` while it is written to. On the disk when it returns.

    Raises StoreError if `target` is there already, StoreFormatError if the source is no store, and
    RetryableError if the disk is full; then nothing named `target` is left.
    """
    source = _path_of(url)
    with _finished(target) as partial:
        _copy(source, partial, "backup", told)
    return BackupReport(target, target.stat().st_size)


def restore(source: Path, target: Path, *, allow_damage: bool = False, told: Told = unheard) -> BackupReport:
    """Make a store of the backup `source` at `target`, which must be absent (or an empty file); verified.

    Raises StoreError if something is at `target`, or if the backup is damaged and `allow_damage` is false:
    with it what is sound is served, and reads leave out the rest.
    """
    _refuse(target)
    _check(verify(_path_of(source), told=told), source, allow_damage=allow_damage)
    with _finished(target) as partial:
        _copy(source, partial, "restore", told)
        report = verify(partial, told=told)
        _check(report, partial, allow_damage=allow_damage)
        _drop_side_files(partial)
    return BackupReport(target, target.stat().st_size, report)


def _path_of(url: str | Path) -> Path:
    """Return the file of a store. Raises StoreFormatError if it holds none, StoreError if it is no file."""
    database = Database(url, StoreSettings(), read_only=True)
    database.close()
    if not isinstance(database.backend, SqliteBackend):
        raise StoreError(
            f"{database.name} must be copied by the server's own tools: pg_dump --format=custom --file=FILE, "
            "and pg_restore into an empty database; `ninesight store verify` reads both"
        )
    return database.backend.path


def _check(report: VerifyReport, path: Path, *, allow_damage: bool) -> None:
    if report.damaged and not allow_damage:
        raise StoreError(
            f"{path} must be sound, {report.damaged} parts are damaged (first: {report.damage[0]}); "
            "take an older backup, or restore what is sound with allow_damage"
        )


def _copy(source: Path, partial: Path, step: str, told: Told) -> None:
    try:
        with (
            closing(_reader(source)) as reader,
            closing(sqlite3.connect(partial, isolation_level=None)) as copy,
        ):
            # An open read transaction pins the snapshot; without it every write restarts the copy.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM store_info").fetchone()
            page_bytes = reader.execute("PRAGMA page_size").fetchone()[0]

            def progress(_status: int, remaining: int, total: int) -> None:
                told(Progress(step, (total - remaining) * page_bytes, total * page_bytes))

            reader.backup(copy, pages=_PAGES, progress=progress, sleep=0.01)
            reader.execute("ROLLBACK")
            # A file that is only read then needs no log beside it; a store turns it on again.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        if any(part in str(error).lower() for part in _TRANSIENT):
            raise RetryableError(
                f"{step} of {source} to {partial}: {error}; make room and try again"
            ) from error
        raise StoreFormatError(f"{step} of {source} to {partial}: {error}") from error


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S
    )


@contextmanager
def _finished(target: Path) -> Iterator[Path]:
    """Give a name to write under; it becomes `target` when it is whole and synced, or is removed."""
    _refuse(target)
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for name in (partial, *_side_files(partial)):
            name.unlink(missing_ok=True)
        yield partial
        _sync(partial)
        # A link never overwrites: a file that appeared meanwhile is kept.
        if target.exists() and not target.stat().st_size:
            target.unlink()
        os.link(partial, target)
        _sync_name(target)
    except FileExistsError:
        raise StoreError(f"{target} must not exist yet, and appeared meanwhile; name another place") from None
    except OSError as error:
        raise RetryableError(f"copying to {target}: {error}; make room and try again") from error
    finally:
        for name in (partial, *_side_files(partial)):
            # What cannot be removed now keeps a name that says it is unfinished; the next copy clears it.
            with suppress(OSError):
                name.unlink(missing_ok=True)


def _sync_name(target: Path) -> None:
    """Bring a name to the disk, or take it back: a copy that might vanish is not acknowledged."""
    try:
        _sync(target.parent)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _refuse(target: Path) -> None:
    if target.is_dir():
        raise StoreError(f"the copy must be named as a file, {target} is a folder; add a file name")
    for name in (target, *_side_files(target)):
        if name.exists() and name.stat().st_size:
            raise StoreError(
                f"{name} must not exist yet, it holds {name.stat().st_size} bytes; name another place"
            )


def _side_files(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def _drop_side_files(path: Path) -> None:
    for name in _side_files(path):
        name.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
