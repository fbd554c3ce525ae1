"""Snapshots: always a whole one to read, whatever is published, removed or killed meanwhile."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from journal_folder import attempt, plan_of, put_plan

from ftlab.errors import StorageError, StoreVersionError
from ftlab.events import EventType
from ftlab.store import snapshot as module
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables
from ftlab.store.snapshot import (
    NoSnapshotError,
    SnapshotReader,
    current_number,
    open_snapshot,
    pin,
    snapshot_numbers,
    unpin,
)

COUNT = "SELECT count(*) FROM curves"


class Growing:
    """A ledger that grows by one curve point at a time."""

    def __init__(self, results: Path) -> None:
        plan = plan_of()
        put_plan(results, plan)
        self.writer = attempt(results, plan)
        self.ledger = Ledger(results)
        self.points = 0

    def grow(self) -> None:
        self.points += 1
        self.writer(EventType.CURVE, step=self.points, values={"a": 1.0})
        self.ledger.ingest()

    def close(self) -> None:
        self.ledger.close()
        self.writer.close()


@pytest.fixture
def growing(tmp_path: Path) -> Any:
    made = Growing(tmp_path)
    yield made
    made.close()


def points(results: Path, number: int | None = None) -> int:
    with open_snapshot(results, number) as opened:
        return int(opened.cursor().execute(COUNT).fetchall()[0][0])


def test_a_snapshot_equals_the_ledger(tmp_path: Path, growing: Growing) -> None:
    growing.grow()
    number = growing.ledger.publish()
    with open_snapshot(tmp_path) as opened:
        assert opened.number == number == current_number(tmp_path)
        assert dump_tables(opened.cursor()) == dump_tables(growing.ledger.connection)


def test_nothing_new_is_no_new_snapshot(growing: Growing) -> None:
    growing.grow()
    assert growing.ledger.publish() == growing.ledger.publish() == 1
    growing.grow()
    assert growing.ledger.publish() == 2


def test_the_newest_three_and_every_pinned_one_are_kept(tmp_path: Path, growing: Growing) -> None:
    for number in range(1, 7):
        growing.grow()
        growing.ledger.publish()
        if number == 2:
            pin(tmp_path, 2)
    assert snapshot_numbers(tmp_path / "snapshots") == [2, 4, 5, 6]
    assert points(tmp_path, 2) == 2
    unpin(tmp_path, 2)
    growing.grow()
    growing.ledger.publish()
    assert snapshot_numbers(tmp_path / "snapshots") == [5, 6, 7]
    with pytest.raises(NoSnapshotError, match=r"no snapshot 2 .* the newest is 7"):
        pin(tmp_path, 2)
    with pytest.raises(NoSnapshotError, match="no snapshot 2"):
        open_snapshot(tmp_path, 2)
    assert not (tmp_path / "snapshots" / "2.pin").exists()


@pytest.mark.parametrize(("cost", "wait"), [(0.01, 2.0), (0.25, 2.5), (0.5, 3.0), (1.0, 3.0), (3.0, 9.0)])
def test_the_wait_keeps_readers_fresh_and_the_cost_low(cost: float, wait: float) -> None:
    assert module.interval_after(cost) == pytest.approx(wait)


def test_publishing_waits_for_its_turn_and_costs_a_share_of_the_time(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    copy = module.Publisher._copy

    def slow(self: module.Publisher, target: Path) -> None:
        copy(self, target)
        now[0] += 0.5

    monkeypatch.setattr(module.Publisher, "_copy", slow)
    growing.grow()
    assert growing.ledger.publish_if_due() == 1
    growing.grow()
    now[0] += 2.9
    assert growing.ledger.publish_if_due() is None
    now[0] += 0.2
    assert growing.ledger.publish_if_due() == 2
    now[0] += 100
    assert growing.ledger.publish_if_due() is None


@pytest.mark.parametrize("step", ["_copy", "fsync_file", "os.rename", "fsync_dir", "write_atomic", "_prune"])
def test_a_crash_between_any_two_steps_leaves_a_readable_state(
    tmp_path: Path, growing: Growing, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    growing.grow()
    growing.ledger.publish()
    growing.grow()

    class Crash(BaseException):
        pass

    def crash(*args: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        if step.startswith("_"):
            patch.setattr(module.Publisher, step, crash)
        elif step == "os.rename":
            patch.setattr(module.os, "rename", crash)
        else:
            patch.setattr(module, step, crash)
        with pytest.raises(Crash):
            growing.ledger.publish()
    assert points(tmp_path) in (1, 2)
    growing.ledger.close()
    with Ledger(tmp_path) as opened:
        opened.publish()
    assert points(tmp_path) == 2
    assert not list((tmp_path / "snapshots").glob("*.tmp*"))


def test_a_reader_is_locked_in(tmp_path: Path, growing: Growing) -> None:
    growing.grow()
    growing.ledger.publish()
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    local = {"a": [1]}
    with open_snapshot(tmp_path) as opened:
        cursor = opened.cursor()
        for sql in (
            f"SELECT * FROM read_text('{secret}')",
            f"SELECT * FROM '{secret}'",
            f"COPY curves TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/ftlab.duckdb' AS other",
            "SELECT * FROM local",
            "INSERT INTO curves VALUES ('r', 1, 1, 'k', 1.0)",
            "DROP TABLE curves",
            "SET enable_external_access = true",
            "SET threads = 64",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(sql)
    assert local
    assert not (tmp_path / "out.csv").exists()


def test_a_name_with_quotes_is_only_a_name(tmp_path: Path) -> None:
    results = tmp_path / 'it\'s "odd"; DROP TABLE x; --'
    with Ledger(results) as opened:
        opened.publish()
    assert points(results) == 0


def test_without_a_snapshot_the_mend_is_named(tmp_path: Path) -> None:
    for results in (tmp_path, tmp_path / "missing"):
        assert current_number(results) is None
        with pytest.raises(NoSnapshotError, match="start with `ftlab run`"):
            open_snapshot(results)


def test_a_lost_or_garbled_current_falls_back_to_the_newest(tmp_path: Path, growing: Growing) -> None:
    growing.grow()
    growing.ledger.publish()
    current = tmp_path / "snapshots" / "CURRENT"
    for text in ("", "nonsense", "77\n"):
        current.write_text(text)
        assert points(tmp_path) == 1
    current.unlink()
    assert points(tmp_path) == 1
    growing.grow()
    assert growing.ledger.publish() == 2


def test_a_snapshot_that_cannot_be_read_or_is_from_the_future_says_so(tmp_path: Path, growing: Growing) -> None:
    growing.ledger.publish()
    file = tmp_path / "snapshots" / "1.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE meta SET value = '9'")
    with pytest.raises(StoreVersionError, match="store version 9"):
        open_snapshot(tmp_path)
    file.write_bytes(b"nonsense" * 2000)
    with pytest.raises(StorageError, match=r"cannot read .*1\.duckdb"):
        open_snapshot(tmp_path)


def test_a_reader_goes_on_when_its_snapshot_is_removed_and_then_moves_on(tmp_path: Path, growing: Growing) -> None:
    growing.grow()
    growing.ledger.publish()
    reader = SnapshotReader(tmp_path)
    old = reader.cursor()
    for _ in range(5):
        growing.grow()
        growing.ledger.publish()
    assert not (tmp_path / "snapshots" / "1.duckdb").exists()
    assert old.execute(COUNT).fetchall() == [(1,)]
    assert reader.cursor().execute(COUNT).fetchall() == [(6,)]
    assert old.execute(COUNT).fetchall() == [(1,)]
    assert reader.snapshot() is reader.snapshot()


def test_readers_in_threads_see_whole_states_that_never_go_back(tmp_path: Path, growing: Growing) -> None:
    growing.grow()
    growing.ledger.publish()
    stop = threading.Event()
    failures: list[BaseException] = []
    reads = [0] * 4

    def read(index: int) -> None:
        reader = SnapshotReader(tmp_path)
        seen = 0
        try:
            while not stop.is_set():
                rows = (
                    reader.cursor().execute("SELECT count(*), count(DISTINCT step), max(step) FROM curves").fetchall()
                )
                count, distinct, last = rows[0]
                assert count == distinct == last >= seen
                seen = count
                reads[index] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (min(reads) < 4 or growing.points < 8):
        growing.grow()
        growing.ledger.publish()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert min(reads) > 3
    assert len(os.listdir(tmp_path / "snapshots")) <= 4
