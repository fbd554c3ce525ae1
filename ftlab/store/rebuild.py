"""Build the ledger again from the files alone. The old one stays in use until the new one takes its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ftlab.errors import StoreVersionError, UsageError
from ftlab.execute.hold import hold_results
from ftlab.files import fsync_dir, storage_errors
from ftlab.store.ingest import Derive
from ftlab.store.ledger import LEDGER_FILE, DamagedError, Ledger, hold_ledger, open_database, set_aside
from ftlab.store.scan import Scanner

NEW_FILE = f"{LEDGER_FILE}.new"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found."""

    lines: int
    bad_lines: int
    experiments: int
    runs: int
    snapshot: int
    """The number of the snapshot that was published from it."""
    problems: tuple[str, ...]
    """What could not be read, each with its place."""
    aside: Path | None
    """Where the old ledger is kept, when it was damaged or of a newer version."""


def rebuild(results: Path, derive: Derive | None = None) -> Rebuilt:
    """Build the ledger of `results` from its journals, plans and stages, put it in place, and publish a snapshot of it.

    A kill at any instant leaves the old ledger or the new one. Raises UsageError when there is nothing to build it
    from, StoreBusyError when a sweep works in the folder, StorageError when the disk is full.
    """
    if not results.is_dir() or not (Scanner(results, {}).experiments() or (results / LEDGER_FILE).exists()):
        raise UsageError(f"there are no results in {results}; name the folder by --results")
    with hold_results(results):
        new = results / NEW_FILE
        _remove(new)
        try:
            with Ledger(results, derive, file=NEW_FILE) as ledger:
                total = ledger.catch_up()
                counts = [_count(ledger.connection, table) for table in ("experiments", "runs")]
                snapshot = ledger.publish()
            with hold_ledger(results):
                aside = _replace(new, results / LEDGER_FILE)
        except BaseException:
            _remove(new)
            raise
    return Rebuilt(total.lines, total.bad_lines, counts[0], counts[1], snapshot, total.problems, aside)


def _replace(new: Path, old: Path) -> Path | None:
    """Put `new` where `old` is. A WAL of the old one must be gone first: it would be replayed onto the new."""
    wal = Path(f"{old}.wal")
    aside = None
    if wal.exists() or old.exists():
        try:
            open_database(old).close()
        except (DamagedError, StoreVersionError):
            aside = set_aside(old)
        if wal.exists():
            aside = set_aside(old)
    with storage_errors(old):
        os.replace(new, old)
        fsync_dir(old.parent)
    return aside


def _remove(new: Path) -> None:
    """Remove what an unfinished rebuild left; it holds nothing that the files do not."""
    for path in (new, Path(f"{new}.wal")):
        path.unlink(missing_ok=True)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def dump_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted: two ledgers are equal when these are."""
    names = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY table_name"
    ).fetchall()
    return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for (name,) in names}
