"""Snapshots: read-only copies of the ledger, published while a sweep writes. The app and the terminal read these alone.

    snapshots/<n>.duckdb       never changed once it has its name
    snapshots/<n>.pin          keeps <n>
    snapshots/CURRENT          the newest number, written after the snapshot is in place

A crash between any two steps leaves the earlier CURRENT and its file: only older ones are removed, and last.
Each has a path of its own, since DuckDB answers from what it remembers of a path.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from ftlab.errors import StorageError, UsageError
from ftlab.files import fsync_dir, fsync_file, storage_errors, write_atomic
from ftlab.store.migrations import VERSION, check_version, migrate

KEEP = 3
MIN_INTERVAL = 2.0
"""Seconds between two snapshots, at least."""
COST_SHARE = 0.1
"""Publishing takes at most this share of the time, as long as that keeps readers fresh."""
FRESH_INTERVAL = 3.0
"""The longest wait as long as a snapshot costs less than a second: readers then see a step within 5 s."""
BUSY_SHARE = 0.25
"""What publishing takes of the time at the very most."""

_FILE = re.compile(r"([1-9][0-9]*)\.duckdb")
_LOCKDOWN = (
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET lock_configuration = true",
)


class NoSnapshotError(UsageError):
    """Nothing was published in a results folder yet."""


class Publisher:
    """Publishes an open ledger. Owned by the process that holds it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, results: Path) -> None:
        self._connection = connection
        self._folder = results / "snapshots"
        self._dirty = True
        self._due_at = 0.0
        for leftover in self._folder.glob("*.tmp*"):
            with suppress(OSError):
                leftover.unlink()

    def changed(self) -> None:
        """The ledger is ahead of the last snapshot."""
        self._dirty = True

    def publish_if_due(self) -> int | None:
        """Publish when there is something new and enough time has gone by since the last one; the number, or None."""
        return self.publish() if self._dirty and time.monotonic() >= self._due_at else None

    def publish(self) -> int:
        """Publish the ledger as it is and remove old snapshots; the number of the newest. Raises StorageError."""
        numbers = snapshot_numbers(self._folder)
        if not self._dirty and numbers:
            return numbers[-1]
        started = time.monotonic()
        number = max([*numbers, current_number(self._folder.parent) or 0]) + 1
        target = self._folder / f"{number}.duckdb"
        temporary = self._folder / f"{number}.duckdb.tmp"
        with storage_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
            for leftover in (temporary, Path(f"{temporary}.wal")):
                leftover.unlink(missing_ok=True)
            self._copy(temporary)
            fsync_file(temporary)
            os.rename(temporary, target)
            fsync_dir(self._folder)
            write_atomic(self._folder / "CURRENT", f"{number}\n".encode())
        self._prune([*numbers, number])
        cost = time.monotonic() - started
        self._dirty = False
        self._due_at = time.monotonic() + interval_after(cost)
        return number

    def _copy(self, target: Path) -> None:
        """By SQL alone: opening the ledger's file in any other way would drop DuckDB's lock on it."""
        row = self._connection.execute("SELECT current_database()").fetchone()
        source = str(row[0]) if row else ""
        self._connection.execute(f"ATTACH {_literal(target)} AS published")
        try:
            self._connection.execute(f'COPY FROM DATABASE "{source.replace(chr(34), chr(34) * 2)}" TO published')
        except duckdb.Error:
            # A database that broke refuses this, too; why it broke is what must be heard.
            with suppress(duckdb.Error):
                self._connection.execute("DETACH published")
            raise
        self._connection.execute("DETACH published")

    def _prune(self, numbers: list[int]) -> None:
        pinned = {int(path.stem) for path in self._folder.glob("*.pin") if path.stem.isdigit()}
        for number in numbers[:-KEEP]:
            if number not in pinned:
                with suppress(OSError):
                    (self._folder / f"{number}.duckdb").unlink()


def interval_after(cost: float) -> float:
    """Seconds from a snapshot that took `cost` seconds to when the next one is due."""
    return max(MIN_INTERVAL, min(cost / COST_SHARE, FRESH_INTERVAL), cost * (1 - BUSY_SHARE) / BUSY_SHARE)


def snapshot_numbers(folder: Path) -> list[int]:
    """The numbers of the snapshots in a `snapshots` folder, rising."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := _FILE.fullmatch(name)))


def current_number(results: Path) -> int | None:
    """The number of the newest snapshot, or None when there is none. Costs one small read: ask as often as you like."""
    try:
        return int((results / "snapshots" / "CURRENT").read_text())
    except (OSError, ValueError):
        numbers = snapshot_numbers(results / "snapshots")
        return numbers[-1] if numbers else None


def pin(results: Path, number: int) -> None:
    """Keep a snapshot for good. Raises NoSnapshotError when it is not there (any more), StorageError."""
    mark = results / "snapshots" / f"{number}.pin"
    if mark.parent.is_dir():
        write_atomic(mark, b"")
        if (results / "snapshots" / f"{number}.duckdb").exists():
            return
        mark.unlink()
    raise NoSnapshotError(f"there is no snapshot {number} in {results}; the newest is {current_number(results)}")


def unpin(results: Path, number: int) -> None:
    """Let a pinned snapshot go with the others."""
    (results / "snapshots" / f"{number}.pin").unlink(missing_ok=True)


class Snapshot:
    """An open snapshot: read-only, no file or variable outside it within reach. Safe among threads, by cursors."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, number: int) -> None:
        self.number = number
        self._connection = connection
        self._lock = threading.Lock()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for the calling thread: one shared among threads returns other threads' rows."""
        with self._lock:
            cursor = self._connection.cursor()
        return cursor.execute("USE ledger")

    def close(self) -> None:
        """Close it with all its cursors. May be repeated."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_snapshot(results: Path, number: int | None = None) -> Snapshot:
    """Open a snapshot, the newest unless `number` says which.

    The newest may be removed just when it is opened, by a sweep that has published others since: then the one that is
    newest by now is opened. Raises NoSnapshotError when there is none, StoreVersionError when a newer ftlab wrote it,
    StorageError when it cannot be read.
    """
    folder = results / "snapshots"
    tried: set[int] = set()
    while True:
        wanted = number if number is not None else current_number(results)
        if number is None and (wanted is None or not (folder / f"{wanted}.duckdb").exists()):
            numbers = snapshot_numbers(folder)
            wanted = numbers[-1] if numbers else None
        if wanted is None:
            raise NoSnapshotError(f"there are no results in {results} yet; start with `ftlab run`")
        path = folder / f"{wanted}.duckdb"
        try:
            return _attach(path, wanted)
        except duckdb.Error as error:
            if path.exists() or wanted in tried:
                raise StorageError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
            if number is not None:
                raise NoSnapshotError(
                    f"there is no snapshot {number} in {results}; the newest is {current_number(results)}"
                ) from None
            tried.add(wanted)


def _attach(path: Path, number: int) -> Snapshot:
    connection = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "1GB"})
    try:
        connection.execute(f"ATTACH {_literal(path)} AS ledger (READ_ONLY)")
        connection.execute("USE ledger")
        if check_version(connection, str(path)) < VERSION:
            _upgrade(connection, path)
        for statement in _LOCKDOWN:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return Snapshot(connection, number)


def _upgrade(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Put a copy in memory, brought to this version, in the place of a snapshot that an older ftlab published."""
    connection.execute("USE memory")
    connection.execute("DETACH ledger")
    connection.execute(f"ATTACH {_literal(path)} AS published (READ_ONLY)")
    connection.execute("ATTACH ':memory:' AS ledger")
    connection.execute("COPY FROM DATABASE published TO ledger")
    connection.execute("DETACH published")
    connection.execute("USE ledger")
    migrate(connection, str(path))


def _literal(path: Path) -> str:
    """A path as a text in SQL, where no parameter is allowed."""
    return "'" + str(path).replace("'", "''") + "'"


class SnapshotReader:
    """Always the newest snapshot of a results folder, for long-lived readers. Safe among threads."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The newest snapshot, opened anew when CURRENT changed. Raises as `open_snapshot` does.

        The one before is left to its readers: it closes when the last of their cursors is gone.
        """
        with self._lock:
            if self._snapshot is None or self._snapshot.number != current_number(self.results):
                self._snapshot = open_snapshot(self.results)
            return self._snapshot

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor on the newest snapshot, for the calling thread."""
        return self.snapshot().cursor()
