"""A sweep that was killed: every reader tells its end by the rule of `ftlab status`, and nothing is written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.decide.build import build_view
from ftlab.events import EventType, Status
from ftlab.execute.attempts import ABANDONED_REASON, hold_lease
from ftlab.execute.hold import hold_results
from ftlab.execute.standing import newest_attempt
from ftlab.store import queries
from ftlab.store.journal import EventWriter
from ftlab.store.ledger import Ledger
from ftlab.store.present import NOT_TAKEN_IN, correct, ended_runs, unpublished
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import make_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One run of it is `running` in the snapshot; the folder is nobody's."""
    make_results(tmp_path, examples=20, benchmarks=())
    with Ledger(tmp_path) as ledger:
        ledger.catch_up()
        ledger.publish()
    return tmp_path


def the_running(results: Path) -> tuple[str, str]:
    with open_snapshot(results) as snapshot:
        (found,) = (
            snapshot.cursor().execute("SELECT experiment_id, run_id FROM runs WHERE status = 'running'").fetchall()
        )
    return found


def read(results: Path) -> tuple[dict[str, tuple[str, str | None]], dict[str, int], list[str]]:
    """Status and reason of every run, the counts of the experiment, and what the view calls running."""
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        correct(cursor, ended_runs(cursor, results))
        (experiment,) = queries.experiments(cursor)
        rows = {run.run_id: (run.status, run.reason) for run in queries.runs(cursor, experiment.experiment_id)}
        view = build_view(cursor, experiment.experiment_id)
        assert view.progress.by_status == experiment.by_status
        return rows, experiment.by_status, view.progress.running


def test_a_run_that_nobody_works_on_was_killed(results: Path) -> None:
    experiment, run_id = the_running(results)
    before = sorted(results.rglob("*"))
    rows, counts, running = read(results)
    now = newest_attempt(results / experiment / "runs" / run_id)
    assert rows[run_id] == ("killed", ABANDONED_REASON) == (now.status, now.reason)
    assert counts == {"complete": 7, "failed": 1, "killed": 1}
    assert running == []
    assert sorted(results.rglob("*")) == before
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        correct(cursor, ended_runs(cursor, results))
        detail = queries.run_detail(cursor, run_id)
        assert detail.attempts[0].status == "killed"
        assert "running" not in {stage.state for stage in detail.stages}
        assert snapshot.cursor().execute("SELECT count(*) FROM runs WHERE status = 'running'").fetchone() == (1,)


def test_while_a_sweep_works_its_snapshots_are_believed(results: Path) -> None:
    with hold_results(results):
        assert read(results)[1]["running"] == 1


def test_a_worker_that_outlives_its_sweep_by_a_moment_still_runs(results: Path) -> None:
    experiment, run_id = the_running(results)
    with hold_lease(results / experiment / "runs" / run_id / "a1"):
        assert read(results)[0][run_id] == ("running", None)
    assert read(results)[0][run_id][0] == "killed"


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [(Status.OOM, "needed 9 GB", "needed 9 GB"), (Status.COMPLETE, None, NOT_TAKEN_IN)],
)
def test_an_end_that_was_written_and_not_published_counts(
    results: Path, status: Status, reason: str | None, told: str
) -> None:
    experiment, run_id = the_running(results)
    with EventWriter(results / experiment / "runs" / run_id / "a1" / "events.jsonl") as write:
        write(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=None)
    assert read(results)[0][run_id] == (status, told)


def test_a_later_attempt_that_the_snapshot_does_not_know_counts(results: Path) -> None:
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        sql = "SELECT experiment_id, run_id FROM runs WHERE status = 'failed'"
        ((experiment, run_id),) = cursor.execute(sql).fetchall()
    (results / experiment / "runs" / run_id / "a2").mkdir()
    assert read(results)[0][run_id] == ("killed", ABANDONED_REASON)


def test_a_folder_that_was_moved_away_changes_nothing(results: Path) -> None:
    experiment, run_id = the_running(results)
    (results / experiment / "runs" / run_id).rename(results / "elsewhere")
    assert read(results)[0][run_id][0] == "running"


def test_without_a_snapshot_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    assert unpublished(tmp_path) is None
    experiment = make_results(tmp_path, examples=20, benchmarks=())
    sentence, command = unpublished(tmp_path)
    assert f"1 experiment ({experiment}) with 9 journals" in sentence
    assert command == "ftlab rebuild"
    with hold_results(tmp_path):
        sentence, command = unpublished(tmp_path)
    assert "has just begun to work" in sentence
    assert command == "ftlab status"
