"""The ledger: one DuckDB file, opened by one process, filled from the journals, published as snapshots.

DuckDB has a lock of its own, which is lost when the process opens and closes the file by any other way; so the ledger
holds a `flock` besides, and nothing here ever opens the file but DuckDB. A handle carried through `fork` loses rows
without a word; so a forked child is refused.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import duckdb

from ftlab.errors import StorageError, StoreBusyError, StoreVersionError
from ftlab.execute.hold import hold_results
from ftlab.files import file_lock, make_folder, storage_errors
from ftlab.store.ingest import Derive, Ingested, Ingester
from ftlab.store.migrations import migrate
from ftlab.store.snapshot import Publisher

__all__ = ["Ledger", "LEDGER_FILE", "hold_results", "open_database", "set_aside"]

LEDGER_FILE = "ftlab.duckdb"
T = TypeVar("T")
LOCK_FILE = ".ledger.lock"
THOROUGH_SECONDS = 30.0
"""How often journals whose end was read are looked at again."""

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 2,
    "default_block_size": 65_536,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
}
"""No extension, no Python variable read by name, and no more of the machine than a sweep can spare.

Blocks of 64 KiB make the ledger and the snapshots of a small sweep 2 MB instead of 8; at a million curve points they
cost no measurable time.
"""


class Ledger:
    """The open ledger of a results folder. One per folder and process; used by one thread.

    A file that is damaged is renamed to `ftlab.duckdb.corrupt.<n>` and a new one is filled from the journals by the
    next ticks; `messages` says so. Raises StoreBusyError naming the process that has it open, StoreVersionError when
    a newer ftlab wrote it, StorageError when the folder cannot be written.

    `derive` fills the computed tables. It is called at the first tick and after every one that changed what they rest
    on, when the facts are committed; so a snapshot never shows facts without what is derived from them.
    """

    def __init__(self, results: Path, derive: Derive | None = None, *, file: str = LEDGER_FILE) -> None:
        self.results = results
        self.path = results / file
        self.messages: list[str] = []
        self._process = os.getpid()
        self._derive = derive
        self._thorough_at = 0.0
        self._breaks = 0
        with ExitStack() as stack:
            make_folder(results)
            stack.enter_context(hold_ledger(results))
            self._begin()
            stack.callback(self._end)
            self._stack = stack.pop_all()

    def _begin(self) -> None:
        """Open the file and all that works on it."""
        self._connection = self._open()
        try:
            # A result that a reader leaves half-read would block the next tick on the same connection.
            self._reader = self._connection.cursor()
            self._ingester = Ingester(self._connection, self.results, self._derive)
            self._publisher = Publisher(self._connection, self.results)
        except BaseException:
            self._connection.close()
            raise

    def _end(self) -> None:
        for connection in (self._reader, self._connection):
            # A database that broke may refuse even this; its memory goes with the last handle.
            with suppress(duckdb.Error):
                connection.close()

    def _guarded(self, work: Callable[[], T], place: Path) -> T:
        """Do `work`. When the database breaks meanwhile it is opened again, at the second time built anew from the
        journals, and the work is done once more: what DuckDB has in memory is no truth that a sweep should die for.
        """
        try:
            with _disk_errors(place):
                return work()
        except DamagedError as error:
            self._breaks += 1
            self._end()
            if self._breaks > 1:
                aside = set_aside(self.path)
                self.messages.append(f"the ledger broke ({error}); kept as {aside}, and built again from the journals")
            else:
                self.messages.append(f"the ledger broke ({error}) and was opened again")
            self._begin()
            self._publisher.changed()
        try:
            with _disk_errors(place):
                return work()
        except DamagedError as error:
            raise StorageError(f"{place} is damaged ({error}); run `ftlab rebuild`") from error

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            connection = open_database(self.path)
        except DamagedError as error:
            aside = set_aside(self.path)
            self.messages.append(
                f"the ledger was damaged ({error}); kept as {aside}, and built again from the journals"
            )
            connection = open_database(self.path)
        try:
            with _disk_errors(self.path):
                migrate(connection, str(self.path))
        except DamagedError as error:
            connection.close()
            raise StorageError(f"{self.path} is damaged ({error}); run `ftlab rebuild`") from error
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """For reading in the thread and process that opened the ledger. Raises RuntimeError in a forked child."""
        if os.getpid() != self._process:
            raise RuntimeError("a DuckDB connection does not survive a fork: start processes by spawn")
        return self._reader

    def ingest(self, thorough: bool = False) -> Ingested:
        """Take in what is new in the files, in one transaction: whole, or on any error not at all.

        Takes about 16 MiB of journals at a time; `.more` says that there is more. Raises StorageError when the disk
        is full.
        """
        _ = self.connection
        now = time.monotonic()
        thorough = thorough or now - self._thorough_at > THOROUGH_SECONDS
        result = self._guarded(lambda: self._ingester.tick(thorough), self.path)
        if thorough:
            self._thorough_at = now
        if result.changed:
            self._publisher.changed()
        return result

    def catch_up(self) -> Ingested:
        """Take in all there is, in as many ticks as that needs; returns their sum."""
        total = self.ingest(thorough=True)
        last = total
        while last.more:
            last = self.ingest(thorough=True)
            total = Ingested(
                total.lines + last.lines,
                total.bad_lines + last.bad_lines,
                total.plans + last.plans,
                total.openings + last.openings,
                total.judgements + last.judgements,
                False,
                last.problems,
            )
        return total

    def publish(self) -> int:
        """Publish the ledger as it is; returns the snapshot's number, the last one's when nothing changed since."""
        _ = self.connection
        return self._guarded(lambda: self._publisher.publish(), self.results / "snapshots")

    def publish_if_due(self) -> int | None:
        """Publish when something changed and the last snapshot is old enough: 2 s, or more the more it cost."""
        _ = self.connection
        return self._guarded(lambda: self._publisher.publish_if_due(), self.results / "snapshots")

    def close(self) -> None:
        """Let the file and the lock go. May be repeated. In a forked child, nothing of the parent's is touched."""
        if os.getpid() == self._process:
            self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DamagedError(Exception):
    """A database file, its WAL, or what DuckDB made of them in memory, that DuckDB cannot go on with."""


_BROKEN = (duckdb.FatalException, duckdb.InternalException)
"""After these DuckDB refuses all further work on the database until it is opened again."""


def open_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database file for reading and writing, locked down.

    Raises DamagedError for a file that DuckDB finds broken, StoreBusyError, StoreVersionError, or StorageError.
    """
    try:
        return duckdb.connect(str(path), config=SETTINGS)
    except duckdb.Error as error:
        text = str(error)
        if "Could not set lock" in text:
            owner = re.search(r"PID (\d+)", text)
            raise StoreBusyError(
                f"{path} is open in another program{f' (process {owner[1]})' if owner else ''}; close it there"
            ) from error
        if "version number" in text:
            raise StoreVersionError(
                f"{path} was written by a newer DuckDB; update duckdb, or build it again by `ftlab rebuild`"
            ) from error
        if any(sign in text for sign in ("No space left", "Read-only file system", "Permission denied")):
            raise StorageError(f"cannot write {path}: {_first_line(error)}") from error
        raise DamagedError(_first_line(error)) from error


def set_aside(path: Path) -> Path:
    """Rename a database file and its WAL to `<name>.corrupt.<n>` and `<name>.corrupt.<n>.wal`; nothing is deleted."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.corrupt.{number}")):
        number += 1
    with storage_errors(path):
        # The WAL first: a WAL without its database would be replayed onto the next one.
        with suppress(FileNotFoundError):
            os.rename(f"{path}.wal", f"{aside}.wal")
        with suppress(FileNotFoundError):
            os.rename(path, aside)
    return aside


@contextmanager
def hold_ledger(results: Path) -> Iterator[None]:
    """Be the only one with the ledger of `results` open. The lock file names the holder for those who are refused."""
    path = results / LOCK_FILE
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(file_lock(path, blocking=False))
        except BlockingIOError:
            raise StoreBusyError(f"the ledger of {results} is in use by {_holder(path)}; wait until it ends") from None
        with storage_errors(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield


def _holder(path: Path) -> str:
    try:
        signature = json.loads(path.read_bytes())
        return f"process {int(signature['pid'])} on {signature['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn DuckDB's words for a disk that is full or read-only into a StorageError, for damage into a DamagedError."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        if "No space left" in text or "Disk quota" in text:
            mend = "the disk is full; free some space and run the command again"
            raise StorageError(f"cannot write {path}: {mend}") from error
        if "Read-only file system" in text:
            raise StorageError(f"cannot write {path}: the file system is read-only; choose another folder") from error
        if isinstance(error, _BROKEN) or any(sign in text for sign in ("orrupt", "Invalid unicode")):
            raise DamagedError(_first_line(error)) from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
