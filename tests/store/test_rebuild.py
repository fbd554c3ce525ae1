"""Promise 4: what is rebuilt from the files equals the live ledger, table by table."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from journal_folder import attempt, plan_of, put_plan, stage

from ftlab.errors import StoreBusyError, UsageError
from ftlab.events import EventType, Status
from ftlab.execute.hold import hold_results
from ftlab.store import ingest
from ftlab.store import rebuild as module
from ftlab.store.ledger import LEDGER_FILE, Ledger
from ftlab.store.rebuild import dump_tables, rebuild
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.invented_plan import ARMS
from ftlab.testing.journals import make_results

Dump = dict[str, list[tuple[Any, ...]]]


def derive(connection: Any) -> None:
    """A stand-in for the comparisons: the mean score of every scores stage."""
    connection.execute("DELETE FROM comparisons")
    connection.execute(
        """
        INSERT INTO comparisons (experiment_id, kind, metric, arm_id, estimate)
        SELECT 'e', 'method', metric, key, avg(score) FROM scores GROUP BY metric, key
        """
    )


def dump(results: Path) -> Dump:
    with Ledger(results, derive) as opened:
        return dump_tables(opened.connection)


def assert_equal(live: Dump, rebuilt: Dump) -> None:
    assert live.keys() == rebuilt.keys()
    for table, rows in live.items():
        assert rows == rebuilt[table], table


@pytest.mark.parametrize("hostile", [False, True])
def test_a_whole_sweep_rebuilds_to_the_same_ledger(tmp_path: Path, hostile: bool) -> None:
    tasks = ("builtin:piqa", "builtin:behaviour", "builtin:neutral-text")
    make_results(tmp_path, hostile=hostile, examples=20, items=10, seeds=(0, 1), benchmarks=tasks)
    with Ledger(tmp_path, derive) as opened:
        opened.catch_up()
        opened.publish()
        live = dump_tables(opened.connection)
    filled = {table for table, rows in live.items() if rows}
    assert filled >= set(live) - {"judgements", "judge_scores", "ratings", "test_openings", "warnings"}
    done = rebuild(tmp_path, derive)
    assert (done.experiments, done.runs, done.bad_lines, done.problems, done.aside) == (1, 18, 0, (), None)
    assert_equal(live, dump(tmp_path))
    with open_snapshot(tmp_path) as snapshot:
        assert snapshot.number == done.snapshot == 2
        assert_equal(live, dump_tables(snapshot.cursor()))
    assert not (tmp_path / module.NEW_FILE).exists()


@pytest.mark.parametrize("seed", range(3))
def test_a_history_of_plans_attempts_and_damage_rebuilds_to_the_same_ledger(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that makes order matter, in a random order, with ticks at random places."""
    draw = random.Random(seed)
    monkeypatch.setattr(ingest, "TICK_BYTES", 3000)
    plans = [plan_of(ARMS[:3]), plan_of(ARMS[2:6]), plan_of(ARMS[1:4])]
    wide = plan_of(ARMS[:7])
    writers: dict[tuple[int, int], Any] = {}
    with Ledger(tmp_path, derive) as opened:
        for _ in range(90):
            deed = draw.random()
            if deed < 0.05:
                put_plan(tmp_path, draw.choice(plans))
            elif deed < 0.15:
                run = draw.randrange(len(wide.runs))
                number = 1 + sum(1 for known, _ in writers if known == run)
                if number <= 3:
                    writers[run, number] = attempt(tmp_path, wide, run, number)
            elif writers:
                _speak(draw, draw.choice(list(writers.values())), wide)
            if draw.random() < 0.3:
                opened.ingest(thorough=draw.random() < 0.5)
        for writer in writers.values():
            writer.close()
        opened.catch_up()
        live = dump_tables(opened.connection)
    rebuild(tmp_path, derive)
    assert_equal(live, dump(tmp_path))
    assert live["attempts"]


def _speak(draw: random.Random, writer: Any, plan: Any) -> None:
    """One random event, true or not, or garbage."""
    key = draw.choice([*(item.key for item in plan.runs[0].stages), "k1", "k2"])
    kind = draw.choice(["dataset", "weights", "scores", "benchmark"])
    what = draw.randrange(7)
    if what == 0:
        writer(EventType.CURVE, step=draw.randrange(50), values={"a": draw.random(), "b": float("nan")})
    elif what == 1:
        writer(EventType.METRICS, split="validation", rows=[{"key": "accuracy", "value": draw.random(), "n": 3}])
    elif what == 2:
        writer(EventType.STAGE_STARTED, kind=kind, name="", key=key)
    elif what == 3:
        stage(writer, kind, key, cached=draw.random() < 0.5, seconds=draw.random(), summary={"x": draw.random()})
    elif what == 4:
        writer(EventType.WARNING, code="w", message="m", step=None)
    elif what == 5:
        status = draw.choice([Status.COMPLETE, Status.FAILED, Status.KILLED])
        writer(EventType.ATTEMPT_FINISHED, status=status, reason="why" if status.needs_reason else None, error=None)
    else:
        with writer.path.open("ab") as file:
            file.write(b"garbage\n")


def test_a_rebuild_is_refused_while_a_sweep_works_there(tmp_path: Path) -> None:
    put_plan(tmp_path, plan_of())
    with hold_results(tmp_path), pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
        rebuild(tmp_path)


def test_there_must_be_something_to_rebuild(tmp_path: Path) -> None:
    for results in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=r"no results in .*--results"):
            rebuild(results)
    assert os.listdir(tmp_path) == []


def test_a_damaged_ledger_is_kept_aside_by_a_rebuild(tmp_path: Path) -> None:
    put_plan(tmp_path, plan_of())
    (tmp_path / LEDGER_FILE).write_bytes(b"nonsense" * 4000)
    (tmp_path / f"{LEDGER_FILE}.wal").write_bytes(b"nonsense")
    done = rebuild(tmp_path)
    assert done.aside == tmp_path / f"{LEDGER_FILE}.corrupt.1"
    assert done.runs == 2
    assert (tmp_path / f"{LEDGER_FILE}.corrupt.1.wal").read_bytes() == b"nonsense"
    assert len(dump(tmp_path)["runs"]) == 2


@pytest.mark.parametrize("moment", ["catch_up", "publish", "_replace"])
def test_a_rebuild_that_fails_leaves_the_old_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    put_plan(tmp_path, plan_of())
    with Ledger(tmp_path, derive) as opened:
        opened.catch_up()
    live = dump(tmp_path)
    shutil.rmtree(next(tmp_path.glob("exp-*")) / "plans")

    def fail(*args: object) -> None:
        raise RuntimeError("half way")

    with monkeypatch.context() as patch:
        patch.setattr(module if moment == "_replace" else Ledger, moment, fail)
        with pytest.raises(RuntimeError, match="half way"):
            rebuild(tmp_path)
    assert not (tmp_path / module.NEW_FILE).exists()
    with Ledger(tmp_path, derive) as opened:
        assert dump_tables(opened.connection) == live
