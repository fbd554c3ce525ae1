"""The ledger: one process, no fork, no half transaction, and nothing lost when the file is damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from journal_folder import attempt, plan_of, put_plan

from ftlab.errors import StorageError, StoreBusyError, StoreVersionError
from ftlab.events import EventType
from ftlab.execute.hold import hold_results
from ftlab.store import migrations
from ftlab.store.ledger import LEDGER_FILE, Ledger
from ftlab.store.migrations import VERSION
from ftlab.store.rebuild import dump_tables
from ftlab.store.snapshot import open_snapshot


def fill(results: Path, points: int = 300) -> None:
    plan = plan_of()
    put_plan(results, plan)
    with attempt(results, plan) as writer:
        for step in range(points):
            writer(EventType.CURVE, step=step, values={"a": 1.0, "b": 2.0})


def test_a_second_ledger_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    code = "import sys, pathlib; from ftlab.store.ledger import Ledger; Ledger(pathlib.Path(sys.argv[1]))"
    with Ledger(tmp_path):
        with pytest.raises(StoreBusyError, match=f"process {os.getpid()} on "):
            Ledger(tmp_path)
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert f"StoreBusyError: the ledger of {tmp_path} is in use by process {os.getpid()}" in other.stderr
    with Ledger(tmp_path):
        pass


def test_the_lock_holds_though_duckdbs_own_was_dropped(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        # Opening and closing the file by any other way drops DuckDB's lock without a word.
        (tmp_path / LEDGER_FILE).open("rb").close()
        with pytest.raises(StoreBusyError):
            Ledger(tmp_path)


def test_another_program_that_has_the_file_open_is_named(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    code = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / LEDGER_FILE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreBusyError, match=f"process {other.pid}"):
            Ledger(tmp_path)
        other.kill()
    Ledger(tmp_path).close()


def test_one_run_per_results_folder(tmp_path: Path) -> None:
    with hold_results(tmp_path), pytest.raises(StoreBusyError, match=f"process {os.getpid()}"), hold_results(tmp_path):
        pass


def test_a_forked_child_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    with Ledger(tmp_path) as opened:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                opened.ingest()
                os.write(write, b"ingested")
            except RuntimeError as error:
                os.write(write, str(error).encode())
            finally:
                opened.close()
                os._exit(0)
        os.waitpid(child, 0)
        assert b"fork" in os.read(read, 200)
        with pytest.raises(StoreBusyError):
            Ledger(tmp_path)
        assert opened.ingest().lines == 6


def test_what_was_ingested_is_not_ingested_again_by_the_next_process(tmp_path: Path) -> None:
    fill(tmp_path)
    with Ledger(tmp_path) as opened:
        assert opened.catch_up().lines == 301
        before = dump_tables(opened.connection)
    with Ledger(tmp_path) as opened:
        assert opened.catch_up().lines == 0
        assert dump_tables(opened.connection) == before


def test_a_reader_that_stops_half_way_does_not_stop_the_ingester(tmp_path: Path) -> None:
    fill(tmp_path)
    with Ledger(tmp_path) as opened:
        opened.ingest()
        opened.connection.execute("SELECT * FROM curves").fetchone()
        fill_more = plan_of()
        attempt(tmp_path, fill_more, 1).close()
        assert opened.ingest().lines == 1
        assert opened.publish() == 1


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    fill(folder)
    code = (
        "import sys, os, pathlib; from ftlab.store.ledger import Ledger\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1])); ledger.ingest(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert (folder / f"{LEDGER_FILE}.wal").stat().st_size > 1000
    return folder


@pytest.fixture
def crashed(killed_once: Path, tmp_path: Path) -> Path:
    """A results folder whose ledger was killed with an uncheckpointed WAL; the journals have everything."""
    return shutil.copytree(killed_once, tmp_path / "results")


def harm_database(results: Path) -> None:
    Ledger(results).close()
    data = bytearray((results / LEDGER_FILE).read_bytes())
    data[4100:4200] = os.urandom(100)
    (results / LEDGER_FILE).write_bytes(data)


def harm_wal(results: Path) -> None:
    wal = results / f"{LEDGER_FILE}.wal"
    data = bytearray(wal.read_bytes())
    data[-200] ^= 0xFF
    wal.write_bytes(data)


def replace_by_text(results: Path) -> None:
    (results / LEDGER_FILE).write_text("this is no database" * 1000)


@pytest.mark.parametrize("harm", [harm_database, harm_wal, replace_by_text])
def test_a_damaged_ledger_is_kept_aside_and_built_again(crashed: Path, harm: object) -> None:
    harm(crashed)  # type: ignore[operator]
    with Ledger(crashed) as opened:
        assert len(opened.messages) == 1
        assert f"{LEDGER_FILE}.corrupt.1" in opened.messages[0]
        opened.catch_up()
        assert opened.connection.execute("SELECT count(*) FROM curves").fetchall() == [(600,)]
    assert (crashed / f"{LEDGER_FILE}.corrupt.1").exists()
    assert not (crashed / f"{LEDGER_FILE}.corrupt.2").exists()


@pytest.mark.parametrize("size", [0.0, 0.3, 0.7, 0.99])
def test_a_shortened_wal_costs_nothing(crashed: Path, size: float) -> None:
    wal = crashed / f"{LEDGER_FILE}.wal"
    os.truncate(wal, int(wal.stat().st_size * size))
    with Ledger(crashed) as opened:
        opened.catch_up()
        rows = opened.connection.execute("SELECT count(*), count(DISTINCT (step, key)) FROM curves").fetchall()
        assert rows == [(600, 600)]


def test_a_ledger_from_the_future_is_refused_untouched(tmp_path: Path) -> None:
    with Ledger(tmp_path) as opened:
        opened.publish()
    with duckdb.connect(str(tmp_path / LEDGER_FILE)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    before = (tmp_path / LEDGER_FILE).read_bytes()
    with pytest.raises(StoreVersionError, match=rf"store version 99, this one reads up to {VERSION}\).*ftlab rebuild"):
        Ledger(tmp_path)
    assert (tmp_path / LEDGER_FILE).read_bytes() == before


def test_an_older_ledger_is_migrated_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 3)
    with Ledger(tmp_path) as opened:
        opened.ingest()

    def add_column(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("ALTER TABLE curves ADD COLUMN note VARCHAR")

    def fail(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("ALTER TABLE curves ADD COLUMN other VARCHAR")
        raise RuntimeError("half way")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_column, fail))
    monkeypatch.setattr(migrations, "VERSION", VERSION + 2)
    with pytest.raises(RuntimeError, match="half way"):
        Ledger(tmp_path)
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[: VERSION + 1])
    monkeypatch.setattr(migrations, "VERSION", VERSION + 1)
    with Ledger(tmp_path) as opened:
        assert migrations.stored_version(opened.connection) == VERSION + 1
        assert opened.connection.execute("SELECT DISTINCT note FROM curves").fetchall() == [(None,)]
        assert "other" not in [row[0] for row in opened.connection.execute("DESCRIBE curves").fetchall()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill_up(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost_or_doubled(small_disk: Path) -> None:
    fill(small_disk, 2000)
    filler = small_disk / "filler"
    with Ledger(small_disk) as opened:
        with pytest.raises(OSError, match="No space left"):
            fill_up(filler)
        with pytest.raises(StorageError, match="the disk is full"):
            opened.catch_up()
        with pytest.raises(StorageError, match="the disk is full"):
            opened.publish()
        filler.unlink()
        opened.catch_up()
        opened.publish()
        assert opened.connection.execute("SELECT count(*), count(DISTINCT (step, key)) FROM curves").fetchall() == [
            (4000, 4000)
        ]
    with open_snapshot(small_disk) as snapshot:
        assert snapshot.cursor().execute("SELECT count(*) FROM curves").fetchall() == [(4000,)]
    assert json.loads((small_disk / ".ledger.lock").read_text())["pid"] == os.getpid()


def test_a_read_only_disk_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a read-only disk needs root")
    try:
        with pytest.raises(StorageError, match="the file system is read-only"):
            Ledger(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def break_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error) -> None:
    """Have the next tick fail as DuckDB fails when what it has in memory is broken."""

    def tick(thorough: bool = False) -> None:
        ledger._reader.close()
        ledger._connection.close()
        raise error

    monkeypatch.setattr(ledger._ingester, "tick", tick)


@pytest.mark.parametrize(
    "error",
    [
        duckdb.FatalException("FATAL Error: Failed: database has been invalidated because of a previous fatal error"),
        duckdb.InternalException("INTERNAL Error: Attempted to access index 0 within vector of size 0"),
        duckdb.Error("Corrupted uncompressed string segment: dictionary is outside the segment"),
        duckdb.InvalidInputException("Invalid unicode (byte sequence mismatch) detected in segment statistics update"),
    ],
)
def test_a_database_that_breaks_while_open_stops_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error
) -> None:
    """Seen once after a kill, in memory alone: the file was whole."""
    fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.catch_up()
        whole = dump_tables(ledger.connection)
        ledger.publish()
        break_once(ledger, monkeypatch, error)
        assert not ledger.catch_up().problems
        assert "was opened again" in ledger.messages[0]
        assert not (tmp_path / f"{LEDGER_FILE}.corrupt.1").exists()
        break_once(ledger, monkeypatch, error)
        ledger.catch_up()
        assert "built again from the journals" in ledger.messages[1]
        assert (tmp_path / f"{LEDGER_FILE}.corrupt.1").exists()
        assert dump_tables(ledger.connection) == whole
        assert ledger.publish() == 2


def test_a_disk_that_is_full_is_no_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path) as ledger:
        break_once(ledger, monkeypatch, duckdb.IOException('Could not write file "x": No space left on device'))
        with pytest.raises(StorageError, match="the disk is full"):
            ledger.ingest()
        assert ledger.messages == []


def test_a_publication_that_breaks_says_why_and_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.catch_up()

        def copy(target: Path) -> None:
            raise duckdb.Error("Corrupted uncompressed string segment: dictionary is outside the segment")

        monkeypatch.setattr(ledger._publisher, "_copy", copy)
        assert ledger.publish() == 1
        assert "dictionary is outside the segment" in ledger.messages[0]
    with open_snapshot(tmp_path) as snapshot:
        assert snapshot.cursor().execute("SELECT count(*) FROM curves").fetchall() == [(600,)]
