"""Ingestion: what the files say enters the ledger once, whole, and whatever the order."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from journal_folder import attempt, plan_of, put_plan, stage

from ftlab.events import EventType, Status
from ftlab.execute.stages import StageStore
from ftlab.store import ingest, ledger
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables
from ftlab.testing.invented_plan import ARMS

E, S = EventType, Status


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def ask(opened: Ledger, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    return opened.connection.execute(sql, list(values)).fetchall()


def write_scores(results: Path, key: str, score: float = 1.0, example: str | None = "e1") -> None:
    def compute(out: Path) -> dict[str, Any]:
        rows = {"example_id": [example], "metric": ["accuracy"], "score": [score], "parsed": ["x"]}
        pq.write_table(pa.table(rows), out / "scores.parquet")
        return {}

    StageStore(results).produce("scores", key, compute)


def test_a_plan_enters_with_every_run_waiting(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    assert open_ledger.ingest().plans == 1
    assert ask(open_ledger, "SELECT experiment_id, name, spec_hash FROM experiments") == [
        (plan.experiment_id, plan.name, plan.spec_hash)
    ]
    assert ask(open_ledger, "SELECT run_id, status, reason, attempt, current FROM runs ORDER BY position") == [
        (run.run_id, "waiting", None, None, True) for run in plan.runs
    ]
    planned = ask(
        open_ledger,
        "SELECT kind, name, key, state FROM run_stages WHERE run_id = ? ORDER BY position",
        plan.runs[0].run_id,
    )
    assert planned == [(stage.kind, stage.name, stage.key, "planned") for stage in plan.runs[0].stages]
    assert open_ledger.ingest() == ingest.Ingested()


def test_runs_that_leave_the_plan_stay_known(tmp_path: Path, open_ledger: Ledger) -> None:
    before, after = plan_of(ARMS[:3]), plan_of(ARMS[1:2])
    put_plan(tmp_path, before)
    open_ledger.ingest()
    put_plan(tmp_path, after)
    open_ledger.ingest()
    current = dict(ask(open_ledger, "SELECT arm_id, current FROM arms"))
    assert current == {arm.arm_id: arm.method_name == ARMS[1].method_name for arm in before.arms}
    put_plan(tmp_path, before)
    open_ledger.ingest()
    assert ask(open_ledger, "SELECT DISTINCT current FROM runs") == [(True,)]
    assert len(list((tmp_path / before.experiment_id / "plans").iterdir())) == 3


def test_the_newest_attempt_decides_whenever_the_others_speak(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    state = "SELECT status, reason, attempt FROM runs WHERE run_id = ?"
    run = plan.runs[0].run_id
    first = attempt(tmp_path, plan)
    open_ledger.ingest()
    assert ask(open_ledger, state, run) == [("running", None, 1)]
    with attempt(tmp_path, plan, number=2) as second:
        open_ledger.ingest()
        first(E.ATTEMPT_FINISHED, status=S.KILLED, reason="late word", error=None)
        open_ledger.ingest()
        assert ask(open_ledger, state, run) == [("running", None, 2)]
        second(E.ATTEMPT_FINISHED, status=S.COMPLETE, reason=None, error=None)
    first(E.METRICS, split="validation", rows=[{"key": "accuracy", "value": 0.1, "n": 3}])
    first.close()
    open_ledger.ingest(thorough=True)
    assert ask(open_ledger, state, run) == [("complete", None, 2)]
    assert ask(open_ledger, "SELECT attempt, status, reason FROM attempts ORDER BY attempt") == [
        (1, "killed", "late word"),
        (2, "complete", None),
    ]


def test_the_first_end_of_an_attempt_counts(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        writer(E.ATTEMPT_FINISHED, status=S.COMPLETE, reason=None, error=None)
        open_ledger.ingest()
        writer(E.ATTEMPT_FINISHED, status=S.KILLED, reason="found dead", error=None)
    open_ledger.ingest(thorough=True)
    assert ask(open_ledger, "SELECT status, reason FROM runs WHERE attempt = 1") == [("complete", None)]


def test_metrics_of_a_later_attempt_win_in_any_order(tmp_path: Path) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    for number, value in ((1, 0.1), (2, 0.2)):
        with attempt(tmp_path, plan, number=number) as writer:
            writer(E.METRICS, split="validation", rows=[{"key": "accuracy", "value": 0.9}])
            writer(E.METRICS, split="validation", rows=[{"key": "accuracy", "value": value, "n": 5, "unit": "share"}])
    home = tmp_path / plan.experiment_id / "runs" / plan.runs[0].run_id
    os.rename(home / "a1", tmp_path / "elsewhere")
    with Ledger(tmp_path) as opened:
        opened.ingest()
        os.rename(tmp_path / "elsewhere", home / "a1")
        opened.ingest(thorough=True)
        assert ask(opened, "SELECT value, n, unit, low FROM metrics") == [(0.2, 5, "share", None)]


def test_stages_go_from_planned_to_complete_and_back_when_the_attempt_fails(
    tmp_path: Path, open_ledger: Ledger
) -> None:
    plan = plan_of(ARMS[4:5])
    put_plan(tmp_path, plan)
    first, second = plan.runs[0].stages[:2]
    state = "SELECT state FROM run_stages WHERE kind = ?"
    with attempt(tmp_path, plan) as writer:
        writer(E.STAGE_STARTED, kind=first.kind, name="", key=first.key)
        stage(writer, first.kind, first.key)
        writer(E.STAGE_STARTED, kind=second.kind, name="", key=second.key)
        open_ledger.ingest()
        assert ask(open_ledger, state, first.kind) == [("complete",)]
        assert ask(open_ledger, state, second.kind) == [("running",)]
        writer(E.ATTEMPT_FINISHED, status=S.OOM, reason="no memory", error=None)
    open_ledger.ingest()
    assert ask(open_ledger, state, first.kind) == [("complete",)]
    assert ask(open_ledger, state, second.kind) == [("planned",)]


def test_a_stage_of_an_earlier_key_does_not_count_for_the_plan(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        stage(writer, "scores", "olderkey", "validation")
    open_ledger.ingest()
    key = plan.runs[0].key("scores", "validation")
    assert ask(open_ledger, "SELECT key, state FROM run_stages WHERE kind = 'scores' AND attempt IS NOT NULL") == []
    assert (key, "planned") in ask(open_ledger, "SELECT key, state FROM run_stages WHERE kind = 'scores'")


def test_a_stage_that_many_runs_tell_of_is_loaded_once(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    write_scores(tmp_path, "k1")
    for run in (0, 1):
        with attempt(tmp_path, plan, run) as writer:
            stage(writer, "scores", "k1", "validation", cached=bool(run))
        open_ledger.ingest()
    assert ask(open_ledger, "SELECT key, example_id, metric, score, parsed FROM scores") == [
        ("k1", "e1", "accuracy", 1.0, "x")
    ]
    assert ask(open_ledger, "SELECT loaded FROM stages") == [(True,)]


def test_a_stage_that_was_computed_anew_is_loaded_anew(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    write_scores(tmp_path, "k1", 1.0)
    with attempt(tmp_path, plan) as writer:
        stage(writer, "scores", "k1", "validation")
        open_ledger.ingest()
        shutil.rmtree(tmp_path / "stages")
        write_scores(tmp_path, "k1", 0.0)
        stage(writer, "scores", "k1", "validation")
        open_ledger.ingest()
    assert ask(open_ledger, "SELECT score FROM scores") == [(0.0,)]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("gone", "not complete on disk"),
        ("garbage", "cannot be read"),
        ("column", "lacks the column|cannot be read"),
        ("null", "rows without example_id"),
        ("encoding", "cannot be read"),
    ],
)
def test_an_artifact_that_cannot_be_read_is_a_warning_until_it_can(
    tmp_path: Path, open_ledger: Ledger, harm: str, words: str
) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)

    def compute(out: Path) -> dict[str, Any]:
        rows: dict[str, Any] = {"example_id": ["e"], "metric": ["accuracy"], "score": [1.0], "parsed": ["x"]}
        if harm == "garbage":
            (out / "scores.parquet").write_bytes(b"PAR1 nonsense PAR1")
            return {}
        if harm == "column":
            del rows["score"]
        if harm == "null":
            rows["example_id"] = pa.array([None], pa.string())
        if harm == "encoding":
            rows["parsed"] = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
        pq.write_table(pa.table(rows), out / "scores.parquet")
        return {}

    if harm != "gone":
        StageStore(tmp_path).produce("scores", "k1", compute)
    with attempt(tmp_path, plan) as writer:
        stage(writer, "scores", "k1", "validation")
        writer(E.CURVE, step=1, values={"train/loss": 1.0})
        open_ledger.ingest()
        found = ask(open_ledger, "SELECT run_id, attempt, code, message FROM warnings")
        assert [row[:3] for row in found] == [(plan.runs[0].run_id, 1, "unreadable_artifact")]
        assert any(word in found[0][3] for word in words.split("|"))
        assert ask(open_ledger, "SELECT count(*) FROM curves") == [(1,)]
        shutil.rmtree(tmp_path / "stages", ignore_errors=True)
        write_scores(tmp_path, "k1")
        stage(writer, "scores", "k1", "validation", cached=True)
    open_ledger.ingest()
    assert ask(open_ledger, "SELECT * FROM warnings") == []
    assert ask(open_ledger, "SELECT score FROM scores") == [(1.0,)]


def test_numbers_that_are_not_finite_never_arrive(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    write_scores(tmp_path, "k1", float("nan"))
    with attempt(tmp_path, plan) as writer:
        stage(writer, "scores", "k1", "validation")
        writer(E.CURVE, step=1, values={"train/loss": float("inf")})
    open_ledger.ingest()
    assert ask(open_ledger, "SELECT score FROM scores") == [(None,)]
    assert ask(open_ledger, "SELECT value FROM curves") == [(None,)]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "curve", "step": 1.5, "values": {"a": 1.0}},
        {"type": "curve", "step": 2**70, "values": {"a": 1.0}},
        {"type": "curve", "step": 1, "values": {"a": "much"}},
        {"type": "curve", "step": 1, "values": [1]},
        {"type": "curve", "step": 1},
        {"type": "metrics", "split": "validation", "rows": [{"value": 1.0}]},
        {
            "type": "metrics",
            "split": "validation",
            "rows": [{"key": "ok", "value": 1.0}, {"key": "bad", "value": True}],
        },
        {
            "type": "stage",
            "kind": "../..",
            "name": "",
            "key": "k",
            "cached": True,
            "seconds": 1,
            "bytes": 1,
            "summary": {},
        },
        {
            "type": "stage",
            "kind": "scores",
            "name": "",
            "key": "k",
            "cached": 1,
            "seconds": 1,
            "bytes": 1,
            "summary": {},
        },
        {"type": "attempt_finished", "status": "splendid"},
        {"type": "attempt_finished", "status": "running"},
        {"type": "attempt_started", "run_id": "r-other", "attempt": 1, "pid": 1, "host": "h", "provenance": {}},
        {"type": "warning", "code": None, "message": "m"},
    ],
)
def test_an_event_that_does_not_hold_what_it_must_is_a_bad_line(
    tmp_path: Path, open_ledger: Ledger, fields: dict[str, Any]
) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        with writer.path.open("ab") as file:
            file.write(json.dumps({"v": 1, "seq": 2, "ts": 1.0, **fields}).encode() + b"\n")
        writer(E.CURVE, step=9, values={"good": 1.0})
    result = open_ledger.ingest()
    assert (result.lines, result.bad_lines) == (3, 1)
    assert ask(open_ledger, "SELECT step, key FROM curves") == [(9, "good")]
    for table in ("metrics", "stages", "warnings"):
        assert ask(open_ledger, f"SELECT * FROM {table}") == []
    assert ask(open_ledger, "SELECT status FROM runs WHERE attempt = 1") == [("running",)]
    assert ask(open_ledger, "SELECT lines, bad_lines FROM ingested_files WHERE path LIKE '%.jsonl'") == [(3, 1)]


def test_an_end_without_its_reason_gets_one(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer, writer.path.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"ts":2.0,"type":"attempt_finished","status":"failed","reason":null}\n')
    open_ledger.ingest()
    assert ask(open_ledger, "SELECT status, reason FROM runs WHERE attempt = 1") == [
        ("failed", "no reason was recorded")
    ]


def test_one_unreadable_run_is_marked_and_the_others_show(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    runs = tmp_path / plan.experiment_id / "runs"
    runs.mkdir()
    (runs / plan.runs[0].run_id).write_text("a file where a folder should be")
    (runs / "r-stray" / "a1" / "events.jsonl").mkdir(parents=True)
    with attempt(tmp_path, plan, 1) as writer:
        writer(E.ATTEMPT_FINISHED, status=S.COMPLETE, reason=None, error=None)
    open_ledger.ingest()
    assert dict(ask(open_ledger, "SELECT run_id, status FROM runs")) == {
        plan.runs[0].run_id: "waiting",
        plan.runs[1].run_id: "complete",
        "r-stray": "waiting",
    }
    assert {row[0] for row in ask(open_ledger, "SELECT run_id FROM warnings WHERE code = 'unreadable_folder'")} == {
        plan.runs[0].run_id,
        "r-stray",
    }
    (runs / plan.runs[0].run_id).unlink()
    shutil.rmtree(runs / "r-stray")
    open_ledger.ingest()
    assert ask(open_ledger, "SELECT * FROM warnings") == []


def test_whatever_else_lies_in_the_results_folder_is_passed_over(tmp_path: Path, open_ledger: Ledger) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "runs").write_text("no folder")
    put_plan(tmp_path, plan_of())
    result = open_ledger.ingest()
    assert result.plans == 1
    assert result.problems == ("broken/runs: Not a directory",)


def test_an_unreadable_plan_is_told_and_the_other_experiments_show(tmp_path: Path, open_ledger: Ledger) -> None:
    good = plan_of(name="good")
    put_plan(tmp_path, good)
    put_plan(tmp_path, plan_of(name="bad"))
    bad = next(path for path in tmp_path.iterdir() if path.name.startswith("bad"))
    (bad / "resolved.json").write_text('{"experiment_id": 3}')
    problems = open_ledger.ingest().problems
    assert len(problems) == 1
    assert problems[0].startswith(f"{bad.name}/resolved.json: ")
    assert open_ledger.ingest().problems == problems
    assert ask(open_ledger, "SELECT name FROM experiments") == [("good",)]
    put_plan(tmp_path, plan_of(name="bad"))
    assert open_ledger.ingest().problems == ()
    assert len(ask(open_ledger, "SELECT name FROM experiments")) == 2


def test_a_copied_experiment_does_not_count_its_runs_twice(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        writer(E.CURVE, step=1, values={"a": 1.0})
    shutil.copytree(tmp_path / plan.experiment_id, tmp_path / "a-copy")
    problems = open_ledger.ingest().problems
    assert ask(open_ledger, "SELECT count(*) FROM curves") == [(1,)]
    assert len(problems) == 2 or len(problems) == 3
    assert all("copied folder" in problem or "plan of" in problem for problem in problems)


def test_a_run_that_no_plan_has_is_known_by_its_config(tmp_path: Path, open_ledger: Ledger) -> None:
    plan = plan_of()
    attempt(tmp_path, plan, 1).close()
    open_ledger.ingest()
    run = plan.runs[1]
    assert ask(open_ledger, "SELECT run_id, experiment_id, arm_id, seed, status, position, current FROM runs") == [
        (run.run_id, plan.experiment_id, run.arm_id, 0, "running", None, False)
    ]


def test_an_error_in_the_middle_leaves_nothing_of_the_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        writer(E.CURVE, step=1, values={"a": 1.0})
    with Ledger(tmp_path) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(ingest, "insert_offsets", lambda *args: (_ for _ in ()).throw(RuntimeError("now")))
            with pytest.raises(RuntimeError, match="now"):
                opened.ingest()
        assert all(not rows for name, rows in dump_tables(opened.connection).items() if name != "meta")
        opened.ingest()
        assert ask(opened, "SELECT count(*) FROM curves") == [(1,)]


def test_what_is_derived_follows_the_facts_and_is_tried_again(tmp_path: Path) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    calls: list[int] = []

    def derive(connection: Any) -> None:
        calls.append(connection.execute("SELECT count(*) FROM curves").fetchone()[0])
        if len(calls) == 1:
            raise RuntimeError("a defect")

    with Ledger(tmp_path, derive) as opened:
        with pytest.raises(RuntimeError, match="a defect"):
            opened.ingest()
        assert len(ask(opened, "SELECT * FROM runs")) == 2
        opened.ingest()
        opened.ingest()
        assert calls == [0, 0]
        with attempt(tmp_path, plan) as writer:
            writer(E.CURVE, step=1, values={"a": 1.0})
            opened.ingest()
            assert calls == [0, 0]
            stage(writer, "weights", "k1")
            opened.ingest()
        assert calls == [0, 0, 1]


def test_much_is_taken_in_by_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "TICK_BYTES", 1000)
    plan = plan_of()
    put_plan(tmp_path, plan)
    for run in (0, 1):
        with attempt(tmp_path, plan, run) as writer:
            for step in range(50):
                writer(E.CURVE, step=step, values={"a": 1.0})
    with Ledger(tmp_path) as opened:
        first = opened.ingest()
        assert first.more
        total = opened.catch_up()
        assert not total.more
        assert first.lines + total.lines == 102
        assert ask(opened, "SELECT count(*), count(DISTINCT (run_id, step)) FROM curves") == [(100, 100)]


def test_finished_journals_are_left_alone_until_a_thorough_look(
    tmp_path: Path, open_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    put_plan(tmp_path, plan)
    with attempt(tmp_path, plan) as writer:
        writer(E.ATTEMPT_FINISHED, status=S.COMPLETE, reason=None, error=None)
        assert open_ledger.ingest().lines == 2
        writer(E.WARNING, code="late", message="after the end", step=None)
        assert open_ledger.ingest().lines == 0
        monkeypatch.setattr(ledger, "THOROUGH_SECONDS", -1.0)
        assert open_ledger.ingest().lines == 1
